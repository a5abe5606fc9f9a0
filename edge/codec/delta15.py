"""Body coding 18: probabilities as changes, in 15 cells by cube root (`edge.codec._delta`)."""

from edge.codec._delta import BASES, Delta

ID = 18
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
CODING = Delta(cells=15, rate=5e-4)
__all__ = ["BASES", "CODING", "ID", "KINDS", "decode", "encode", "size"]
size, encode, decode = CODING.size, CODING.encode, CODING.decode
