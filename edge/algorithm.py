"""A protocol with its settings, seen from outside: what it needs, and how its nodes are created and connected.

>>> algorithm = load("d-psgd", {"momentum": 0.9}, "settings")
>>> algorithm.objective, algorithm.spec.same_model
(('cross_entropy',), True)
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edge import codec, kinds
from edge.bundle import Bundle
from edge.config import Coding, Privacy, protocol_settings
from edge.errors import ConfigError
from edge.interfaces import DEVICE, Array, MessageKind, NodeId, PrivacyClass, Protocol, ProtocolContext
from edge.privacy import TEMPERED, find_noise
from edge.protocols import PROTOCOLS
from edge.reference import ReferenceSet
from edge.robust import find as find_rule
from edge.specs import ProtocolSpec, UpdateRule
from edge.task import Task


@dataclass(frozen=True)
class Algorithm:
    """A protocol with its settings."""

    name: str
    spec: ProtocolSpec[Any]
    settings: Any

    @property
    def objective(self) -> tuple[str, ...]:
        """The terms of a device's training step."""
        return self.spec.objective(self.settings)

    @property
    def update(self) -> UpdateRule:
        """How devices' parameters move where nobody chooses an optimizer."""
        return self.spec.update(self.settings)

    @property
    def centre(self) -> NodeId | None:
        """The role, and the name, of the node in the middle; None among peers."""
        return self.spec.centre

    @property
    def centre_objective(self) -> tuple[str, ...] | None:
        """The terms of the centre's training step; None if it has no model."""
        return self.spec.centre_objective(self.settings) if self.spec.centre_objective else None

    @property
    def split(self) -> bool:
        """Whether the centre's model is what follows the devices' in one that is cut in two."""
        return self.spec.centre_model == "rest"

    @property
    def sends(self) -> tuple[MessageKind, ...]:
        """The kinds of message that devices send."""
        return self.spec.sends(self.settings)

    def aggregation(self, setting: str | None, task: Task) -> str:
        """Return the aggregation rule that a setting names, or the one that suits models for `task`."""
        return self.spec.aggregation(self.settings, task) if setting is None else setting

    def refuse_inapplicable(self, privacy: Privacy, aggregation: str | None, coding: Coding) -> None:
        """Refuse noise, a temperature or an aggregation rule that would do nothing to what devices send.

        Raises ConfigError.
        """
        if privacy.noise:
            self.require_applicable(f"noise '{privacy.noise}'", find_noise(privacy.noise).applies, self.spec.perturbs)
        if privacy.temperature != 1:
            self.require_applicable(f"temperature {privacy.temperature:g}", TEMPERED, self.spec.perturbs)
            if self.only_largest(coding):
                raise ConfigError(
                    f"temperature {privacy.temperature:g}: {self.name} in 1 bit sends the most likely class and "
                    "nothing else, which no temperature changes; leave it out, or send more bits"
                )
        if aggregation is not None and (rule := find_rule(aggregation)).applies != frozenset(PrivacyClass):
            self.require_applicable(f"aggregation '{aggregation}'", rule.applies, self.spec.aggregates)

    def refuse_attack(self, setting: str, applies: Collection[PrivacyClass]) -> None:
        """Refuse an attack on messages of these classes that would do nothing to what devices send.

        Raises ConfigError.
        """
        self.require_applicable(setting, applies, self.spec.perturbs)

    def only_largest(self, coding: Coding) -> bool:
        """Whether devices send the place of a distribution's largest entry and nothing else."""
        chosen = coding.by_kind()
        return self.spec.only_largest(self.settings) or any(
            codec.find(chosen[kind.name]).only_largest for kind in self.sends
        )

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

    def require_task(self, task: Task) -> None:
        """Refuse a model that is for what the protocol cannot do. Raises ConfigError."""
        if task.name not in self.spec.tasks:
            others = [name for name, spec in PROTOCOLS.all().items() if task.name in spec.tasks]
            raise ConfigError(
                f"{self.name} runs on {' or '.join(self.spec.tasks)}, and this model is for {task.name}; on that run: "
                f"{', '.join(others)}"
            )

    def rows(self, objective: Sequence[str]) -> tuple[int, ...]:
        """Rows of the batches a step of this objective takes: private ones, and reference ones where it has a term.

        0 where the settings do not fix them.
        """
        known = asdict(self.settings)
        sizes = [known.get("batch_size", 0)]
        if any("(reference" in term for term in objective):
            sizes.append(known.get("reference_batch", 0))
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
        """What the protocol knows about node `me`.

        devices: all of them, in an order all agree on. weights: of the graph; not read where there is a centre.
        share: x, y of a device. bundle: of the devices' model.
        Raises ConfigError if a device has the centre's name, or the bundle is for what the protocol cannot do.
        """
        self.require_task(bundle.manifest.job)
        if self.centre in devices:
            raise ConfigError(f"no device may be called '{self.centre}': that is the {self.centre} of {self.name}")
        manifest = bundle.manifest
        raw = [kind.name for kind in self.sends if kind.privacy is PrivacyClass.RAW_SAMPLES]
        if manifest.tokens and raw:
            raise ConfigError(
                f"{self.name} sends {raw[0]} as floats, and the model takes token numbers; choose another protocol"
            )
        index = len(devices) if me == self.centre else devices.index(me)
        return ProtocolContext(
            me=me,
            weights=self.around(me, devices, weights),
            x=share[0],
            y=share[1],
            reference_x=reference.x,
            reference_digest=manifest.with_classes(reference.digest),
            model_digest=manifest.model_digest,
            parameters=manifest.size,
            classes=classes,
            seed=seed * 1_000_003 + index,
            shared_seed=seed,
            fleet=tuple(devices),
            features_shape=manifest.embedding or (),
            role=self.centre if self.centre and me == self.centre else DEVICE,
            task=manifest.job,
            supervision=manifest.supervision,
            optimizer=manifest.optimizer,
        )

    def create(self, context: ProtocolContext) -> Protocol:
        """Make the algorithm for one node.

        Raises:
            ConfigError: it cannot run there, or accepts messages that its SPEC does not declare.
        """
        protocol = self.spec.create(context, self.settings)
        declared = {(kind.name, kind.privacy) for kind in self.spec.kinds}
        for form in (form for several in protocol.accepts().values() for form in several):
            if (form.kind, form.privacy) not in declared:
                raise ConfigError(
                    f"{self.name} accepts messages of kind '{form.kind}' ({form.privacy.value}), which its SPEC does "
                    "not declare: add them to `kinds`"
                )
        return protocol


def load(name: str, settings: Mapping[str, Any], origin: str) -> Algorithm:
    """Load a protocol with its settings.

    Args:
        name: of the protocol, as in the configuration.
        settings: key -> value, as somebody wrote them.
        origin: what they were written in, for errors.

    Raises:
        ConfigError: no such protocol or setting, an impossible value, or a kind of message that is declared otherwise.
    """
    spec = PROTOCOLS.load(name)
    for kind in spec.kinds:
        kinds.declare(kind)
    algorithm = Algorithm(name.replace("_", "-"), spec, protocol_settings(spec, settings, origin))
    for kind in (*algorithm.sends, *spec.perturbs, *spec.aggregates):
        if kind not in spec.kinds:
            raise ConfigError(f"{name} sends messages of kind '{kind.name}', which its SPEC does not list in `kinds`")
    return algorithm
