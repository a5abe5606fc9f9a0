"""The graph under construction: a builder that infers shapes, a view of a node, shape folding, rewriting, pruning.

>>> import numpy as np
>>> from export.graph.builder import GraphBuilder
>>> op = GraphBuilder(opset=18)
>>> x = op.argument("x", np.float32, ["N", 4])
>>> y = op("MatMul", x, op.const(np.ones((4, 3)), np.float32))
>>> op.shape(y), op.producer(y).op_type
((None, 3), 'MatMul')
"""
