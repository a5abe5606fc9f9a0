"""The graph under construction: a builder that infers shapes, a view of a node, shape folding, pruning."""
