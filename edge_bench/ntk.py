"""Distillation in the lazy regime: a linear model, squared loss, gradient descent, against closed forms.

Seo et al. 2020 analyse federated distillation with the neural tangent kernel: outputs f on n inputs with
kernel Q follow df = -eta Q grad. With labels y and weight lam of the distillation term:

    one student, fixed teacher g   f -> (y + lam g) / (1 + lam)
    M devices, each towards the mean of the others, labels y_k, a = lam M / (M - 1)
                                   f_k -> (y_k + a mean y) / (1 + a)
    rates                          the mean over devices like exp(-eta q t) for each eigenvalue q of Q, the
                                   differences between devices like exp(-eta q (1 + a) t)

The means of the others are those of the protocol itself (`federated_distillation.leave_one_out`).
"""

from dataclasses import dataclass

import numpy as np

from edge.interfaces import Array
from edge.protocols.federated_distillation import leave_one_out


@dataclass(frozen=True)
class Lazy:
    """How far from the closed forms gradient descent ended, and the measured rates over the predicted ones."""

    teacher_error: float
    fixed_point_error: float
    mean_rate: float
    difference_rate: float


def measure(seed: int, *, devices: int = 4, inputs: int = 6, lam: float = 0.7, steps: int = 4000) -> Lazy:
    """Train one random linear model with Q = Phi Phi^T, well conditioned, and random labels; outputs are rows of 3."""
    random = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(random.standard_normal((inputs, inputs)))
    spectrum = np.linspace(0.5, 1.0, inputs)
    Q = basis @ np.diag(spectrum) @ basis.T
    labels = random.standard_normal((devices, inputs, 3)) + 2  # no row of zeros, which would mean "none"
    eta = 0.05

    g = random.standard_normal((inputs, 3))
    f = np.zeros((inputs, 3))
    for _ in range(steps):
        f -= eta * Q @ (f - labels[0] + lam * (f - g))
    teacher_error = float(np.abs(f - (labels[0] + lam * g) / (1 + lam)).max())

    a = lam * devices / (devices - 1)
    target = (labels + a * labels.mean(axis=0)) / (1 + a)
    outputs = np.zeros_like(labels) + 1e-9
    means, differences = [], []
    for _ in range(steps):
        means.append(_along(outputs.mean(axis=0) - target.mean(axis=0), basis))
        differences.append(_along((outputs - outputs.mean(axis=0) - (target - target.mean(axis=0)))[0], basis))
        others = leave_one_out({f"{k:03}": rows for k, rows in enumerate(outputs)})
        teachers = np.stack([others[f"{k:03}"] for k in range(devices)])
        outputs = outputs - eta * np.einsum("ij,kjc->kic", Q, outputs - labels + lam * (outputs - teachers))
    return Lazy(
        teacher_error=teacher_error,
        fixed_point_error=float(np.abs(outputs - target).max()),
        mean_rate=_rate(means) / -float(np.log(1 - eta * spectrum[0])),
        difference_rate=_rate(differences) / -float(np.log(1 - eta * spectrum[0] * (1 + a))),
    )


def _along(error: Array, basis: Array) -> float:
    """Return the size of the error in the direction of the smallest eigenvalue."""
    return float(np.linalg.norm(basis[:, 0] @ error))


def _rate(errors: list[float]) -> float:
    """Return the decay a step, between the tenth and the hundredth."""
    return float(np.log(errors[10] / errors[100]) / 90)
