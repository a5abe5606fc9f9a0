"""Body coding 17: probabilities as changes, in 24 cells by cube root (`edge.codec._delta`)."""

from edge.codec._delta import BASES, Delta

ID = 17
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
CODING = Delta(cells=24, rate=2e-4)
__all__ = ["BASES", "CODING", "ID", "KINDS", "decode", "encode", "size"]
size, encode, decode = CODING.size, CODING.encode, CODING.decode
