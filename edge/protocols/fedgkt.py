"""FedGKT: a small extractor on the device, a large model on the server, and distillation both ways.

He, Annavaram, Avestimehr, "Group Knowledge Transfer: Federated Learning of Large CNNs at the Edge",
NeurIPS 2020. With H the extractor's features, z_c the device's logits and z_s the server's:

    device   local steps on  CE(z_c, y) + alpha KL_T(z_s || z_c)       no second term before the first answer
             then for *every* private sample: H, z_c and y go to the server
    server   epochs over everybody's features on  CE(z_s, y) + alpha KL_T(z_c || z_s); then z_s goes back

KL_T is T^2 KL(softmax(teacher / T) || softmax(student / T)). Weights never travel and are never averaged;
what answers in the end is the device's extractor with the server's model on top. Labels and one layer's
features leave the device: this is no private algorithm, and its traffic grows with the samples.

What the text leaves open, and how it is done here: logits are matched by sample (row i of the device's
samples is row i of every message), not by batch; the server mixes all devices' samples in its batches
(`interleave`), instead of one device after the other; its answers are computed after its training.
With `asynchronous` the device trains while the server does, on answers one round old.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge import bundle
from edge.errors import ConfigError
from edge.interfaces import (
    DEVICE,
    Array,
    Engine,
    Exchange,
    ExchangeResult,
    Floats,
    Format,
    MessageKind,
    Metrics,
    NodeId,
    Protocol,
    ProtocolContext,
)
from edge.kinds import FEATURES, LABELS, LOGITS
from edge.protocols._base import Stateful, few_enough, message
from edge.protocols._local import LocalSettings, batches, generator, summary, train
from edge.ranges import LARGEST_RATE
from edge.specs import ProtocolSpec

TERM = "kullback_leibler"
LARGEST = 1e4
"""A feature or logit beyond this is nonsense."""


@dataclass(frozen=True, kw_only=True)
class FedGktSettings(LocalSettings):
    """The algorithm's own knobs.

    alpha: weight of the distillation terms. to_device, to_server: whether the device, the server distils.
    temperature: T. server_epochs, server_batch, server_rate: of the server's training. interleave: samples of all
    devices in a batch of the server. max_samples: samples a device may have. asynchronous: see above.
    """

    alpha: float = 1.0
    to_device: bool = True
    to_server: bool = True
    temperature: float = 3.0
    server_epochs: int = 1
    server_batch: int = 32
    server_rate: float = 0.1
    interleave: bool = True
    max_samples: int = 5_000
    asynchronous: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.alpha >= 0 and self.temperature > 0 and 0 < self.server_rate <= LARGEST_RATE):
            raise ValueError(
                "alpha must not be negative, temperature must be positive, "
                f"server_rate above 0 and at most {LARGEST_RATE:g}"
            )
        if min(self.server_epochs, self.server_batch, self.max_samples) < 1:
            raise ValueError("server_epochs, server_batch and max_samples must be at least 1")


def objective(_settings: FedGktSettings) -> tuple[str, ...]:
    """Labels, and the server's logits."""
    return ("cross_entropy", TERM)


def centre_objective(_settings: FedGktSettings) -> tuple[str, ...]:
    """Labels, and the devices' logits."""
    return ("cross_entropy", TERM)


def sends(_settings: FedGktSettings) -> tuple[MessageKind, ...]:
    """What devices send."""
    return (FEATURES, LOGITS, LABELS)


def uploads(context: ProtocolContext, settings: FedGktSettings) -> tuple[Format, Format, Format]:
    """Features (n, |H|), logits (n, K), labels (n, 1)."""
    digest, n = context.model_digest, settings.max_samples
    shapes = {FEATURES: context.features, LOGITS: context.classes, LABELS: 1}
    one, two, three = (kind.format(digest, (n, width), fewer=True) for kind, width in shapes.items())
    return one, two, three


@dataclass
class FedGktDevice(Stateful):
    """The edge. teacher: (n, K) float32, the server's logits of the private samples; empty before its first answer."""

    STATE = ("teacher",)
    context: ProtocolContext
    settings: FedGktSettings
    teacher: Array = field(default_factory=lambda: np.empty((0, 0), np.float32))

    @property
    def answer(self) -> Format:
        """The server's logits of all private samples."""
        return LOGITS.format(self.context.model_digest, (len(self.context.x), self.context.classes))

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """The server's logits."""
        return {self.context.neighbours[0]: (self.answer,)}

    def heads(self, engine: Engine, x: Array, centre: Engine | None) -> list[Floats]:
        """The device's own small classifier, and, where the server can be asked, the whole."""
        own = engine.predict(x)
        if centre is None:
            return [own]
        (features,) = engine.outputs(x, bundle.EMBEDDING)
        return [own, centre.predict(features)]

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Train, send features and logits of everything, take the server's logits."""
        (server,) = self.context.neighbours
        metrics: Metrics = {}
        if not self.settings.asynchronous:
            metrics = self._train(number, engine)
        features, logits = engine.outputs(self.context.x, bundle.EMBEDDING, bundle.LOGITS)
        parts = features, logits, self.context.y
        forms = uploads(self.context, self.settings)
        uploaded = [message(form, number, part) for form, part in zip(forms, parts, strict=True)]
        yield Exchange({server: uploaded}, {})
        if self.settings.asynchronous:
            metrics = self._train(number, engine)
        received = (yield Exchange({}, {server: (LOGITS.name,)})).of(LOGITS.name)
        valid = [rows for rows in received.values() if np.abs(rows).max() < LARGEST]
        if valid:
            self.teacher = valid[0]
        return metrics | {"rejected_invalid": float(len(received) - len(valid))}

    def _train(self, number: int, engine: Engine) -> Metrics:
        settings, none = self.settings, not len(self.teacher)
        teacher = np.zeros((len(self.context.x), self.context.classes), np.float32) if none else self.teacher
        weight = 0.0 if none or not settings.to_device else settings.alpha
        return train(
            engine,
            self.context,
            settings,
            number,
            private=lambda at: {"target_logits": teacher[at]},
            hyper={f"weight/{TERM}": weight, f"temperature/{TERM}": settings.temperature},
        )


@dataclass
class FedGktServer(Stateful):
    """The centre: trains the rest of the model on what the devices last sent."""

    context: ProtocolContext
    settings: FedGktSettings

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """Features, logits and labels of every sample of every device."""
        return dict.fromkeys(self.context.neighbours, uploads(self.context, self.settings))

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Collect, train, and send each device what the large model makes of its samples."""
        kinds = (FEATURES.name, LOGITS.name, LABELS.name)
        result = yield Exchange({}, dict.fromkeys(self.context.neighbours, kinds))
        sent = {j: tuple(result.of(kind).get(j) for kind in kinds) for j in result.received}
        whole = {j: _rows(*parts) for j, parts in sent.items()}
        data = {j: rows for j, rows in sorted(whole.items()) if rows is not None}
        metrics = {"rejected_invalid": float(len(sent) - len(data))}
        if not data:
            return metrics
        x = {j: rows[0].reshape(-1, *self.context.features_shape) for j, rows in data.items()}
        metrics |= self._train(number, engine, x, data)
        answers = {}
        for j, features in x.items():
            (logits,) = engine.outputs(features, bundle.LOGITS)
            form = LOGITS.format(self.context.model_digest, (len(logits), self.context.classes))
            answers[j] = (message(form, number, logits),)
        yield Exchange(answers, {})
        return metrics

    def _train(self, number: int, engine: Engine, x: Mapping[NodeId, Array], data: Mapping[NodeId, "_Rows"]) -> Metrics:
        settings = self.settings
        random = generator(self.context, number)
        hyper = {f"weight/{TERM}": settings.alpha * settings.to_server, f"temperature/{TERM}": settings.temperature}
        names = list(data)
        groups = [names] if settings.interleave else [[j] for j in names]
        steps = []
        for _ in range(settings.server_epochs):
            for group in groups:
                features = np.concatenate([x[j] for j in group])
                logits, labels = (np.concatenate([data[j][i] for j in group]) for i in (1, 2))
                order = batches(len(features), settings.server_batch, random)
                for _ in range(-(-len(features) // settings.server_batch)):
                    at = next(order)
                    batch = {"x": features[at], "labels": labels[at], "target_logits": logits[at]}
                    steps.append(engine.step(batch, learning_rate=settings.server_rate, **hyper))
        return summary(steps)


_Rows = tuple[Array, Array, Array]


def _rows(features: Array | None, logits: Array | None, labels: Array | None) -> _Rows | None:
    """The three messages of one device together, if they are all there, of one length, and make sense."""
    if features is None or logits is None or labels is None or not len(features) == len(logits) == len(labels):
        return None
    small = max(np.abs(features).max(), np.abs(logits).max()) < LARGEST
    if not small or not np.isin(labels, np.arange(logits.shape[1])).all():
        return None
    return features, logits, labels[:, 0].astype(np.int64)


def create(context: ProtocolContext, settings: FedGktSettings) -> Protocol:
    """A device or the server. Raises ConfigError for more samples than `max_samples`, or a model without features."""
    if not context.features:
        raise ConfigError("fedgkt needs a model cut in two: export it with --split-at; its edge part is the device's")
    few_enough(context, settings.max_samples)
    return FedGktDevice(context, settings) if context.role == DEVICE else FedGktServer(context, settings)


SPEC = ProtocolSpec(
    settings=FedGktSettings,
    objective=objective,
    create=create,
    sends=sends,
    kinds=(FEATURES, LOGITS, LABELS),
    centre="server",
    centre_objective=centre_objective,
    centre_model="rest",
    asks_centre=True,
    renamed={"most": "max_samples"},
)
