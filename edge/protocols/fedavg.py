"""FedAvg: a server averages the weights of a fraction of the devices. The classic that sends weights.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017.
What is counted: an upload of P from each of the C m devices that were drawn, and the average to all m,
(C m + m) P a round, so that every device always has the newest model.
"""

from dataclasses import dataclass

from edge.interfaces import DEVICE, Protocol, ProtocolContext
from edge.kinds import STATUS, WEIGHTS
from edge.protocols._averaging import RENAMED, Averager, AveragingLearner, AveragingSettings, sends
from edge.specs import ProtocolSpec
from edge.task import TASKS


@dataclass(frozen=True, kw_only=True)
class FedAvgSettings(AveragingSettings):
    """Weighted by samples, as in the paper."""

    weighted: bool = True


def objective(_settings: FedAvgSettings) -> tuple[str, ...]:
    """Plain supervision."""
    return ("cross_entropy",)


def create(context: ProtocolContext, settings: FedAvgSettings) -> Protocol:
    """A device or the server."""
    return AveragingLearner(context, settings) if context.role == DEVICE else Averager(context, settings)


SPEC = ProtocolSpec(
    settings=FedAvgSettings,
    objective=objective,
    create=create,
    sends=sends,
    kinds=(WEIGHTS, STATUS),
    growing=True,
    centre="server",
    same_model=True,
    tasks=tuple(TASKS),
    renamed=RENAMED,
)
