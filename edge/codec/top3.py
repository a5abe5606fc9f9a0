"""Body coding 16: the three largest probabilities of a row in 8 bits, and where (`edge.codec._top`)."""

from edge.codec._top import Top

ID = 16
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
CODING = Top(3)
size, encode, decode = CODING.size, CODING.encode, CODING.decode
