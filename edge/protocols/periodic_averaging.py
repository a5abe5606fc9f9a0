"""Periodic averaging: all weights, every so many rounds; the baseline of dynamic averaging (Kamp et al. 2018).

With `every` = 1 and `local_steps` = 1 it is continuous averaging, which equals one serial step on the union of
the batches.
"""

from dataclasses import dataclass

from edge.interfaces import DEVICE, Protocol, ProtocolContext
from edge.protocols._averaging import Averager, AveragingSettings, Learner
from edge.protocols._averaging import sends as sends

CENTRE = "coordinator"
SAME_MODEL = True


@dataclass(frozen=True, kw_only=True)
class Settings(AveragingSettings):
    """All devices, equally."""


def objective(_settings: Settings) -> tuple[str, ...]:
    """Plain supervision."""
    return ("cross_entropy",)


def create(context: ProtocolContext, settings: Settings) -> Protocol:
    """A device or the coordinator."""
    return Learner(context, settings) if context.role == DEVICE else Averager(context, settings)
