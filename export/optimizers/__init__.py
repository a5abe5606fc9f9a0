"""Optimizers, one a file: from a parameter and its gradient to the next parameter and state.

A file has `HYPER`, the run-time scalars and their defaults, and `build(op, gradients, hyper, state)`, which appends the
formula and returns the next value of every parameter and state tensor. `state(name, like)` declares a state tensor of
the shape of `like` (a scalar if None), zero at first, and returns it. Making the formula fast is the work of
`export.lowering`.

>>> import numpy as np
>>> from export.graph.builder import GraphBuilder
>>> from export.optimizers import sgd
>>> op = GraphBuilder(18)
>>> w, g, rate = (op.argument(name, np.float32, shape) for name, shape in (("w", [3]), ("g", [3]), ("rate", [])))
>>> following = sgd.build(op, {w: g}, {"learning_rate": rate}, lambda name, like: name)
>>> [node.op_type for node in op.nodes], following[w] == op.nodes[-1].output[0]
(['Mul', 'Sub'], True)
"""

from collections.abc import Callable, Mapping

from export.graph.builder import Value

Hyper = Mapping[str, Value]
"""name of a run-time scalar -> its value in the graph"""
State = Callable[[str, Value | None], Value]
"""(name, like) -> a state tensor of the shape of `like`"""
Next = dict[Value, Value]
"""parameter or state -> its next value"""
