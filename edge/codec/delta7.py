"""Body coding 19: probabilities as changes, in 7 cells by cube root (`edge.codec._delta`)."""

from edge.codec._delta import Delta

ID = 19
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
BASES = 2
"""how many earlier messages it is coded with, where both sides have them; none, if a coding does not say"""
CODING = Delta(cells=7, rate=1e-3)
size, encode, decode = CODING.size, CODING.encode, CODING.decode
