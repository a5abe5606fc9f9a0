"""Weights of those that were drawn up, the average down to all (McMahan et al. 2017)."""

from tests.payloads import ROUNDS, Case, H, M, P

PAYLOADS = [
    Case(ROUNDS * (2 + M) * (H + 4 * P), {"fraction": 0.5, "weighted": False}),
    Case(ROUNDS * (2 * M * (H + 4 * P) + M * (H + 4))),
]
