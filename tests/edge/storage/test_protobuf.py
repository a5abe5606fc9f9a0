"""Messages taken apart and put together as bytes, beside the onnx package's own."""

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from edge.storage.protobuf import content, fields, number, text


def test_messages_are_as_onnx_writes_them() -> None:
    value = np.arange(300, dtype=np.float32)
    ours = number(1, 300) + number(2, 1) + text(8, "wéight") + content(9, value.tobytes())
    tensor = TensorProto.FromString(ours)
    assert (tensor.name, list(tensor.dims)) == ("wéight", [300])
    assert np.array_equal(numpy_helper.to_array(tensor), value)
    assert ours == numpy_helper.from_array(value, "wéight").SerializeToString()
    assert b"".join(field.raw for field in fields(ours)) == ours


def test_every_kind_of_field_is_handed_on() -> None:
    message = TensorProto(dims=[1], data_type=11, double_data=[0.5], float_data=[1.0], name="x").SerializeToString()
    message += b"\x65" + bytes(4) + b"\x61" + bytes(8)  # field 12 as fixed32 and as fixed64
    assert b"".join(field.raw for field in fields(message)) == message


@pytest.mark.parametrize("message", [b"\x0a\x05ab", b"\x08", b"\x08\xff", b"\x0b", b"\x0d\x00", b"\xff" * 12])
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"message|whole"):
        list(fields(message))
