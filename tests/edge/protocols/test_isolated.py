"""No communication: the lower bound."""

from tests.payloads import Case

PAYLOADS = [Case(0)]
