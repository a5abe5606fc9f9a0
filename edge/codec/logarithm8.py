"""Body coding 9: probabilities by logarithm in 8 bits, clipped at 12 nats (`edge.codec._logarithm`)."""

from edge.codec._logarithm import Logarithm

ID = 9
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
CODING = Logarithm(8, 12.0)
size, encode, decode = CODING.size, CODING.encode, CODING.decode
