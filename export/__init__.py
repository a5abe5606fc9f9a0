"""On the workstation: from an ONNX model to a training step that stock ONNX Runtime executes."""
