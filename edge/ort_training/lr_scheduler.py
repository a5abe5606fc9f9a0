"""A learning rate that rises from 0 in a line, and then falls to 0 in a line."""

from edge.ort_training.optimizer import Optimizer


class LinearLRScheduler:
    """Set the learning rate of an optimizer, with s the steps that it has taken.

        initial_lr s / warmup                            while s < warmup
        initial_lr max(0, (total - s) / (total - warmup))    from then on

    Args:
        optimizer: whose learning rate it is.
        warmup_step_count: steps of the first line.
        total_step_count: steps of both.
        initial_lr: the largest learning rate.
    """

    def __init__(self, optimizer: Optimizer, warmup_step_count: int, total_step_count: int, initial_lr: float) -> None:
        self._optimizer = optimizer
        self._warmup, self._total, self._initial = warmup_step_count, total_step_count, initial_lr
        self.step()

    def step(self) -> None:
        """Set the learning rate; call it after each step of the optimizer."""
        step = self._optimizer.state.step
        if step < self._warmup:
            factor = step / self._warmup
        else:
            factor = max(0.0, (self._total - step) / max(1, self._total - self._warmup))
        self._optimizer.set_learning_rate(self._initial * factor)
