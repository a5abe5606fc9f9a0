"""A protocol's module, seen from outside: what it needs, and how its devices are made and connected.

A module of `edge.protocols` has

    Settings                     a frozen dataclass of the algorithm's own knobs, with defaults
    objective(settings)          the terms a device's bundle must have been exported with
    create(context, settings)      -> edge.interfaces.Protocol, for a device or (context.role) the centre

and, where it needs them,

    CENTRE                       what it calls the one node in the middle: "server", "coordinator"; none if absent
    centre_objective(settings)   the terms of the centre's own model; it has no model if absent
    CENTRE_MODEL                 "same" as the devices' (the default), or "rest": what follows the split
    DATA                         the only data set it runs on, if there is one
    sends(settings)              the kinds of message that devices send (`edge.kinds`)
    PERTURBS, AGGREGATES         kinds made of distributions, which the protocol itself passes through `context.perturb`
                                 before it makes them, and through `context.aggregate` after it has taken them apart
    only_largest(settings)       True if of distributions only the largest entry's place is sent
    ASKS_CENTRE                  True if what a device answers needs its centre's model (`heads`)
    SAME_MODEL                   True if all devices must have the same architecture, as weights are exchanged
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from edge import plugins
from edge.bundle import Bundle
from edge.config import Coding, Privacy, protocol_settings
from edge.errors import ConfigError
from edge.interfaces import DEVICE, Array, MessageKind, NodeId, PrivacyClass, Protocol, ProtocolContext
from edge.kinds import SOFT_LABELS
from edge.privacy import TEMPERED, find_noise
from edge.reference import ReferenceSet
from edge.robust import find as find_rule


@dataclass(frozen=True)
class Algorithm:
    """A protocol with its settings."""

    name: str
    module: ModuleType
    settings: Any

    @property
    def objective(self) -> tuple[str, ...]:
        """The terms of a device's training step."""
        terms: tuple[str, ...] = self.module.objective(self.settings)
        return terms

    @property
    def centre(self) -> NodeId | None:
        """The role, and the name, of the node in the middle; None among peers."""
        return getattr(self.module, "CENTRE", None)

    @property
    def centre_objective(self) -> tuple[str, ...] | None:
        """The terms of the centre's training step; None if it has no model."""
        terms = getattr(self.module, "centre_objective", None)
        return None if terms is None else terms(self.settings)

    @property
    def split(self) -> bool:
        """Whether the centre's model is what follows the devices' in one that is cut in two."""
        return getattr(self.module, "CENTRE_MODEL", "same") == "rest"

    @property
    def data(self) -> str | None:
        """The only data set it runs on; None for any."""
        return getattr(self.module, "DATA", None)

    @property
    def asks_centre(self) -> bool:
        """Whether a device answers with its centre's model."""
        return getattr(self.module, "ASKS_CENTRE", False)

    @property
    def same_model(self) -> bool:
        """Whether all devices must have one architecture."""
        return getattr(self.module, "SAME_MODEL", False)

    @property
    def sends(self) -> tuple[MessageKind, ...]:
        """The kinds of message that devices send."""
        kinds: tuple[MessageKind, ...] = self.module.sends(self.settings)
        return kinds

    def refuse_inapplicable(self, privacy: Privacy, robust: str, coding: Coding) -> None:
        """Raise ConfigError if noise, temperature or an aggregation rule would do nothing to what devices send."""
        perturbs = getattr(self.module, "PERTURBS", ())
        if privacy.noise:
            self.require_applicable(f"noise '{privacy.noise}'", find_noise(privacy.noise).applies, perturbs)
        if privacy.temperature != 1:
            self.require_applicable(f"temperature {privacy.temperature:g}", TEMPERED, perturbs)
            if self.only_largest or (SOFT_LABELS in self.sends and coding.soft_labels == "probability1"):
                raise ConfigError(
                    f"temperature {privacy.temperature:g}: {self.name} in 1 bit sends the most likely class and "
                    "nothing else, which no temperature changes; leave it out, or send more bits"
                )
        if (rule := find_rule(robust)).applies != frozenset(PrivacyClass):
            self.require_applicable(f"robust '{robust}'", rule.applies, getattr(self.module, "AGGREGATES", ()))

    def attackable(self, setting: str, applies: Collection[PrivacyClass]) -> None:
        """Raise ConfigError if an attack on messages of these classes would do nothing to what devices send."""
        self.require_applicable(setting, applies, getattr(self.module, "PERTURBS", ()))

    @property
    def only_largest(self) -> bool:
        """Whether of distributions it sends the first largest entry's place and nothing else."""
        only = getattr(self.module, "only_largest", None)
        return only is not None and only(self.settings)

    def require_applicable(
        self, setting: str, applies: Collection[PrivacyClass], itself: Collection[MessageKind] = ()
    ) -> None:
        """Raise ConfigError unless a setting for messages of these classes applies to all that devices send.

        All: what some messages hide, or filter, and others give away or let in, is neither hidden nor filtered.
        itself: kinds made of distributions, to which the protocol applies it before it makes them.
        """
        suits = " or ".join(sorted(kind.value for kind in applies))
        if not self.sends:
            raise ConfigError(f"{setting}: devices of {self.name} send nothing that it could apply to; leave it out")
        for kind in self.sends:
            if kind.privacy not in applies and not (kind in itself and PrivacyClass.DISTRIBUTION in applies):
                raise ConfigError(
                    f"{setting} applies to {suits}; with these settings {self.name} sends {kind.name} "
                    f"({kind.privacy.value}), to which it does not: leave it out, or choose another protocol"
                )

    def rows(self, objective: Sequence[str]) -> tuple[int, ...]:
        """Rows of the batches a step of this objective takes: private ones, and reference ones where it has a term."""
        sizes = [getattr(self.settings, "batch_size", 0)]
        if any("(reference" in term for term in objective):
            sizes.append(getattr(self.settings, "reference_batch", 0))
        return tuple(sizes)

    def around(
        self, me: NodeId, devices: Sequence[NodeId], weights: Mapping[NodeId, Mapping[NodeId, float]]
    ) -> Mapping[NodeId, float]:
        """Whom `me` listens to, and how much: the graph's `weights` among peers, a star around a centre."""
        if self.centre is None:
            return weights[me]
        if me == self.centre:
            return {me: 0.0, **dict.fromkeys(devices, 1 / len(devices))}
        return {me: 1.0, self.centre: 0.0}

    def context(
        self,
        me: NodeId,
        devices: Sequence[NodeId],
        weights: Mapping[NodeId, Mapping[NodeId, float]],
        share: tuple[Array, Array],
        reference: ReferenceSet,
        bundle: Bundle,
        *,
        classes: int,
        seed: int,
    ) -> ProtocolContext:
        """What node `me` is told.

        devices: all of them, in an order all agree on. weights: of the graph; not read where there is a centre.
        share: x, y of a device. bundle: of the devices' model.
        Raises ConfigError if a device has the centre's name.
        """
        if self.centre in devices:
            raise ConfigError(f"no device may be called '{self.centre}': that is the {self.centre} of {self.name}")
        manifest = bundle.manifest
        index = len(devices) if me == self.centre else devices.index(me)
        return ProtocolContext(
            me=me,
            weights=self.around(me, devices, weights),
            x=share[0],
            y=share[1],
            reference_x=reference.x,
            reference_digest=reference.digest,
            model_digest=manifest.model_digest,
            parameters=manifest.size,
            classes=classes,
            seed=seed * 1_000_003 + index,
            shared_seed=seed,
            fleet=tuple(devices),
            features_shape=manifest.embedding or (),
            role=self.centre if self.centre and me == self.centre else DEVICE,
        )

    def create(self, context: ProtocolContext) -> Protocol:
        """The algorithm on one node. Raises ConfigError if it cannot run there."""
        made: Protocol = self.module.create(context, self.settings)
        return made


def load(name: str, settings: Mapping[str, Any], origin: str) -> Algorithm:
    """The protocol called `name` with checked settings. Raises ConfigError with the key's path."""
    module = plugins.load("edge.protocols", name)
    return Algorithm(name, module, protocol_settings(module, settings, origin))
