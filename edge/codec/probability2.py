"""Body coding 7: probabilities in 2 bits; the codes of a row sum to 3 exactly (`edge.codec._linear`)."""

from edge.codec._linear import Linear

ID = 7
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
CODING = Linear(2)
size, encode, decode = CODING.size, CODING.encode, CODING.decode
