"""Body coding 20: probabilities as changes, in 3 cells by cube root (`edge.codec._delta`)."""

from edge.codec._delta import BASES, Delta

ID = 20
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
CODING = Delta(cells=3, rate=1e-3)
__all__ = ["BASES", "CODING", "ID", "KINDS", "decode", "encode", "size"]
size, encode, decode = CODING.size, CODING.encode, CODING.decode
