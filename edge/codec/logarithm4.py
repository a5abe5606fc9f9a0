"""Body coding 11: probabilities by logarithm in 4 bits, clipped at 8 nats (`edge.codec._logarithm`)."""

from edge.codec._logarithm import Logarithm

ID = 11
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
CODING = Logarithm(4, 8.0)
size, encode, decode = CODING.size, CODING.encode, CODING.decode
