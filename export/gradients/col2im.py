"""Gradient of Col2Im."""

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient
from export.graph.window import Window, one_hot


@gradient("Col2Im")
def col2im(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """X (N, C k, L) -> Y (N, C, *S), each cell the sum of what L blocks of k cells hold for it: dX is cut into blocks.

    A convolution with one-hot filters copies each cell of a block to a channel of its own.
    """
    block = node.constant(2)
    if block is None or len(block) > 3:
        raise ExportError(f"node {node}: its block must be constant, and have at most three axes")
    C, *_ = op.sample(dY)
    window = Window.of(node, block.tolist())
    cells = op("Conv", dY, op.const(one_hot(C, window.kernel), op.dtype(dY)), group=C, **window.attributes)
    return [op("Reshape", cells, op.const([0, C * block.prod(), -1])), None, None]
