"""Body coding 6: probabilities in 4 bits; the codes of a row sum to 15 exactly (`edge.codec._linear`)."""

from edge.codec._linear import Linear

ID = 6
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
CODING = Linear(4)
size, encode, decode = CODING.size, CODING.encode, CODING.decode
