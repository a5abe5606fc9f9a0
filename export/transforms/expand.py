"""Replace operators without a gradient rule by their definitions in the ONNX specification, where it has one."""

import onnx
from onnx.inliner import inline_selected_functions

from export.gradients import RULES, ZERO

CONTROL = {"If", "Loop", "Scan"}
"""Control flow, which has no gradient rule and no definition."""
INTEGER = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
"""Operators of quantised models."""


def expand(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Inline the definition of every operator that has no rule but has a definition.

    Args:
        proto: a model without functions of its own.

    Returns:
        The same model where nothing was to be done, otherwise a changed copy.
    """
    opset = opset_of(proto)
    unknown = {n.op_type for n in proto.graph.node if n.domain in ("", "ai.onnx")} - RULES.keys() - ZERO
    defined = {name for name in unknown - CONTROL - INTEGER if _has_definition(name, opset)}
    if not defined:
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for node in copy.graph.node:
        if node.op_type in defined and node.domain in ("", "ai.onnx"):
            _write_defaults(node, opset)
    return inline_selected_functions(copy, [("", name) for name in sorted(defined)], inline_schema_functions=True)


def opset_of(proto: onnx.ModelProto) -> int:
    """The version of the standard operator set that a model imports; 0 if none."""
    return next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0)


def _has_definition(op_type: str, opset: int) -> bool:
    schema = onnx.defs.get_schema(op_type, opset)
    return bool(schema.has_function or schema.has_context_dependent_function)  # type: ignore[attr-defined]


def _write_defaults(node: onnx.NodeProto, opset: int) -> None:
    """Write out the attributes that the node leaves at their defaults: onnx's inliner does not know these."""
    written = {a.name for a in node.attribute}
    schema = onnx.defs.get_schema(node.op_type, opset)
    defaults = (a.default_value for name, a in schema.attributes.items() if name not in written)
    node.attribute.extend(a for a in defaults if a.name)
