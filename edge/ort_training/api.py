"""The names of `onnxruntime.training.api`."""

from edge.ort_training.checkpoint_state import CheckpointState
from edge.ort_training.lr_scheduler import LinearLRScheduler
from edge.ort_training.module import Module
from edge.ort_training.optimizer import Optimizer

__all__ = ["CheckpointState", "LinearLRScheduler", "Module", "Optimizer"]
