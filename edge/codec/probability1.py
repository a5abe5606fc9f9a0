"""Body coding 8: probabilities in 1 bit; the codes of a row sum to 1 exactly (`edge.codec._linear`)."""

from edge.codec._linear import Linear

ID = 8
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
CODING = Linear(1)
size, encode, decode = CODING.size, CODING.encode, CODING.decode
