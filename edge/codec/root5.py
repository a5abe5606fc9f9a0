"""Body coding 13: probabilities by cube root in 5 bits (`edge.codec._root`)."""

from edge.codec._root import Root

ID = 13
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
CODING = Root(5)
size, encode, decode = CODING.size, CODING.encode, CODING.decode
