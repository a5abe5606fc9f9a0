"""Optimizers, one a file: from a parameter and its gradient to the next parameter and state.

A file has `HYPER`, the run-time scalars and their defaults, and
`build(op, parameters, gradients, hyper, state) -> next values`, where `state(name, like)` declares a
state tensor shaped as `like` (a scalar if None), zero at first, and returns it.
"""

from collections.abc import Callable, Mapping

from export.graph.builder import Value

Hyper = Mapping[str, Value]
State = Callable[[str, Value | None], Value]
Next = dict[Value, Value]
"""parameter or state -> its next value"""
