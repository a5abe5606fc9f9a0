"""All data in one place, once: the upper bound."""

from tests.payloads import Case, H, M, X, samples

PAYLOADS = [Case(lambda result: 2 * M * H + samples(result) * (4 * X + 1))]
