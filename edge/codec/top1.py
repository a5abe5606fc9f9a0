"""Body coding 15: the largest probability of a row in 8 bits, and where (`edge.codec._top`)."""

from edge.codec._top import Top

ID = 15
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
CODING = Top(1)
size, encode, decode = CODING.size, CODING.encode, CODING.decode
