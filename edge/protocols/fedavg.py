"""FedAvg: a server averages the weights of a fraction of the devices. The classic that sends weights.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017.
What is counted: an upload of P from each of the C m devices that were drawn, and the average to all m,
(C m + m) P a round, so that every device always has the newest model.
"""

from dataclasses import dataclass

from edge.interfaces import DEVICE, Protocol, ProtocolContext
from edge.protocols._averaging import Averager, AveragingSettings, Learner
from edge.protocols._averaging import sends as sends

CENTRE = "server"
SAME_MODEL = True


@dataclass(frozen=True, kw_only=True)
class Settings(AveragingSettings):
    """Weighted by samples, as in the paper."""

    weighted: bool = True


def objective(_settings: Settings) -> tuple[str, ...]:
    """Plain supervision."""
    return ("cross_entropy",)


def create(context: ProtocolContext, settings: Settings) -> Protocol:
    """A device or the server."""
    return Learner(context, settings) if context.role == DEVICE else Averager(context, settings)
