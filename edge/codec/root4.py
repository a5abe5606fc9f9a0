"""Body coding 14: probabilities by cube root in 4 bits (`edge.codec._root`)."""

from edge.codec._root import Root

ID = 14
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
CODING = Root(4)
size, encode, decode = CODING.size, CODING.encode, CODING.decode
