"""Periodic averaging: all weights, every so many rounds; the baseline of dynamic averaging (Kamp et al. 2018).

With `sync_interval` = 1 and `local_steps` = 1 it is continuous averaging, which equals one serial step on the union of
the batches.
"""

from dataclasses import dataclass

from edge.interfaces import DEVICE, Protocol, ProtocolContext
from edge.kinds import STATUS, WEIGHTS
from edge.protocols._averaging import RENAMED, Averager, AveragingLearner, AveragingSettings, sends
from edge.specs import ProtocolSpec
from edge.task import TASKS


@dataclass(frozen=True, kw_only=True)
class PeriodicAveragingSettings(AveragingSettings):
    """All devices, equally."""


def objective(_settings: PeriodicAveragingSettings) -> tuple[str, ...]:
    """Plain supervision."""
    return ("cross_entropy",)


def create(context: ProtocolContext, settings: PeriodicAveragingSettings) -> Protocol:
    """A device or the coordinator."""
    return AveragingLearner(context, settings) if context.role == DEVICE else Averager(context, settings)


SPEC = ProtocolSpec(
    settings=PeriodicAveragingSettings,
    objective=objective,
    create=create,
    sends=sends,
    kinds=(WEIGHTS, STATUS),
    growing=True,
    centre="coordinator",
    same_model=True,
    tasks=tuple(TASKS),
    renamed=RENAMED,
)
