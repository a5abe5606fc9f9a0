"""All weights, every so many rounds (Kamp et al. 2018)."""

from tests.payloads import ROUNDS, Case, H, M, P

PAYLOADS = [Case(ROUNDS // 2 * 2 * M * (H + 4 * P), {"sync_interval": 2})]
