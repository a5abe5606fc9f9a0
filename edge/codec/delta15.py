"""Body coding 18: probabilities as changes, in 15 cells by cube root (`edge.codec._delta`)."""

from edge.codec._delta import Delta

ID = 18
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
BASES = 2
"""how many earlier messages it is coded with, where both sides have them; none, if a coding does not say"""
CODING = Delta(cells=15, rate=5e-4)
size, encode, decode = CODING.size, CODING.encode, CODING.decode
