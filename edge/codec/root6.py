"""Body coding 12: probabilities by cube root in 6 bits (`edge.codec._root`)."""

from edge.codec._root import Root

ID = 12
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
CODING = Root(6)
size, encode, decode = CODING.size, CODING.encode, CODING.decode
