"""The fleet as a graph: neighbours (`topology`) and mixing weights (`mixing`).

Examples:
    >>> from edge.graph import mixing, topology
    >>> ring = topology.build("ring", ["a", "b", "c", "d"], seed=0)
    >>> ring.neighbours("a")
    ('b', 'd')
    >>> weights = mixing.metropolis(ring)
    >>> round(weights["a"]["b"], 3), round(mixing.spectral_gap(mixing.matrix(weights, ring.nodes)), 3)
    (0.333, 0.667)
"""
