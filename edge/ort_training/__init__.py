"""ONNX Runtime's on-device training, which is discontinued, on any ONNX Runtime: the same names and the same behaviour.

    from export import artifacts                                                       # was onnxruntime.training
    from edge.ort_training.api import CheckpointState, LinearLRScheduler, Module, Optimizer  # ...training.api

`export.artifacts` writes the training artifacts on a workstation; what is here trains them on a device, without the
package `onnx`. docs/moving-from-onnxruntime-training.md says what differs.
"""
