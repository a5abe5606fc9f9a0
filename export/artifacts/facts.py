"""What a training artifact says of itself, in the metadata of its file."""

import json
from collections.abc import Mapping
from typing import Any

import onnx

from edge.ort_training.names import FACTS


def described(proto: onnx.ModelProto, facts: Mapping[str, Any]) -> onnx.ModelProto:
    """Write `facts` into a model's metadata (`edge.ort_training.names.FACTS`). Returns the model."""
    proto.metadata_props.add(key=FACTS, value=json.dumps(facts))
    return proto
