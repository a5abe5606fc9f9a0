"""Body coding 3: probabilities in 8 bits; the codes of a row sum to 255 exactly (`edge.codec._linear`)."""

from edge.codec._linear import Linear

ID = 3
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
CODING = Linear(8)
size, encode, decode = CODING.size, CODING.encode, CODING.decode
