"""Multi-headed distillation: auxiliary heads learn from the neighbours, each from the head before.

Zhmoginov et al., "Decentralized Learning with Multi-Headed Distillation", CVPR 2023. A model has a main
head h_0, trained on private labels only, and auxiliary heads h_1 .. h_H of the same shape:

    CE(h_0(private), y) + aux_weight sum_k CE(target_k, h_k(reference)) + embedding_weight ||e - e'||^2

target_k comes from heads k-1: for every sample the most confident (largest softmax entry) of the sampled
teachers' and the device's own. Knowledge moves one hop a head, the gradients reach the shared features, and
the main head is never pulled away from the private task: ask it about the device's own distribution, and
the last head about everybody's.

The device's own heads are asked once a round, like the neighbours': on digits (eight devices, H = 3, 100 steps a
round, seeds 0 to 2) the last head reached .832 on everybody's classes, and .816 when asked anew at each step.

With a `weighting`, heads say (w p, 1 - w) instead of p (`edge.weighting`), and target_k is the weighted mean of the
sampled teachers and the device itself, instead of the most confident of them.

The paper keeps a pool of the neighbours' stale checkpoints. Here the pool holds their stale *predictions*
on the reference set, so that architectures may differ and no weights travel: H x R x K values (heads 0 to
H-1; the last is never a target), and with `embedding_weight` R x F for the normalised embeddings e.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np

from edge import weighting
from edge.bundle import EMBEDDING, PROBABILITIES, head_name
from edge.interfaces import (
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
from edge.kinds import FEATURES, SOFT_LABELS
from edge.protocols._base import Stateful, distributions, message
from edge.protocols._consensus import state
from edge.protocols._local import LocalSettings, generator, train
from edge.specs import ProtocolSpec

EMBEDDING_TERM = "embedding_distance(reference)"
LONGEST = 1e6
"""Length of an embedding beyond which it is nonsense."""


@dataclass(frozen=True, kw_only=True)
class MultiHeadedSettings(LocalSettings):
    """The algorithm's own knobs.

    heads: H, auxiliary heads. aux_weight: nu_aux, of each of them. reference_batch: reference rows a step.
    refresh_every: rounds from one exchange to the next. pool: predictions kept, the oldest go first; 0 for as
    many as there are neighbours. teachers: sampled from the pool for each step.
    weighting: how much opinions count in a mean; none to choose as `confidence` says, as in the paper.
    confidence: choose the most confident for each sample; otherwise the teachers' mean. own_target: the device's
    own head k-1 competes too. embedding_weight: nu_emb; all models need as many features.
    """

    heads: int = 3
    aux_weight: float = 1.0
    reference_batch: int = 32
    refresh_every: int = 1
    pool: int = 0
    teachers: int = 1
    weighting: str = weighting.NONE
    confidence: bool = True
    own_target: bool = True
    embedding_weight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.heads, self.reference_batch, self.refresh_every, self.teachers) < 1:
            raise ValueError("heads, reference_batch, refresh_every and teachers must be at least 1")
        if min(self.aux_weight, self.embedding_weight, self.pool) < 0:
            raise ValueError("aux_weight, embedding_weight and pool must not be negative")
        weighting.check(self.weighting)
        if self.weighting != weighting.NONE and not self.confidence:
            raise ValueError(f"confidence = false is the plain mean, weighting '{self.weighting}' another; choose one")


def auxiliary(head: int) -> str:
    """The term that trains a head."""
    return f"soft_cross_entropy(reference,{head})"


def objective(settings: MultiHeadedSettings) -> tuple[str, ...]:
    """Labels for the main head, targets for the others, and the embedding where it counts."""
    heads = tuple(auxiliary(k) for k in range(1, settings.heads + 1))
    return ("cross_entropy", *heads, *((EMBEDDING_TERM,) if settings.embedding_weight else ()))


def sends(settings: MultiHeadedSettings) -> tuple[MessageKind, ...]:
    """What devices send: predictions, and embeddings where they count."""
    return (SOFT_LABELS, FEATURES) if settings.embedding_weight else (SOFT_LABELS,)


@dataclass
class MultiHeadedDistillation(Stateful):
    """See `edge.interfaces.Protocol`.

    pool: (T, H R, K or K + 1) float32, predictions of neighbours, oldest first. embeddings: (T, R, F), theirs.
    """

    STATE = ("pool", "embeddings")
    context: ProtocolContext
    settings: MultiHeadedSettings
    pool: Array = field(default_factory=lambda: np.empty((0, 0, 0), np.float32))
    embeddings: Array = field(default_factory=lambda: np.empty((0, 0, 0), np.float32))

    @property
    def forms(self) -> tuple[Format, ...]:
        """Predictions, and embeddings where they count."""
        context, rows, heads = self.context, len(self.context.reference_x), self.settings.heads
        digest = sha256(context.reference_digest + bytes([heads])).digest()[:8]
        columns = weighting.columns(self.settings.weighting, context.classes)
        forms = [SOFT_LABELS.format(digest, (heads * rows, columns))]
        if self.settings.embedding_weight:
            forms.append(FEATURES.format(digest, (rows, context.features)))
        return tuple(forms)

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """The neighbours' heads."""
        return dict.fromkeys(self.context.neighbours, self.forms)

    def heads(self, engine: Engine, x: Array, centre: Engine | None) -> list[Floats]:
        """All of them, the main one first."""
        return engine.outputs(x, *(head_name(PROBABILITIES, k) for k in range(self.settings.heads + 1)))

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Send all heads, train on what is in the pool while they travel, and refresh the pool."""
        neighbours, forms = self.context.neighbours, self.forms
        names = [head_name(PROBABILITIES, k) for k in range(self.settings.heads)]
        more = [EMBEDDING] if self.settings.embedding_weight else []
        outputs = engine.outputs(self.context.reference_x, *names, *more)
        kind = self.settings.weighting
        own = [state(kind, self.context, engine, head).astype(np.float32) for head in outputs[: len(names)]]
        exchanging = number % self.settings.refresh_every == 0
        if exchanging:
            parts = [np.concatenate(own), *outputs[len(names) :]]
            update = tuple(message(form, number, part) for form, part in zip(forms, parts, strict=True))
            yield Exchange(dict.fromkeys(neighbours, update), {})
        metrics = self._train(number, engine, np.stack(own))
        if exchanging:
            result = yield Exchange({}, dict.fromkeys(neighbours, tuple(form.kind for form in forms)))
            metrics["rejected_invalid"] = float(self._refresh(result))
        return metrics

    def _train(self, number: int, engine: Engine, own: Array) -> Metrics:
        """Own: (H, R, K or K + 1), what our heads said at the start of the round."""
        settings, pool = self.settings, self.pool
        random = generator(self.context, number, 5)
        hyper = {f"weight/{auxiliary(k)}": settings.aux_weight * bool(len(pool)) for k in range(1, settings.heads + 1)}
        if settings.embedding_weight:
            hyper[f"weight/{EMBEDDING_TERM}"] = settings.embedding_weight * bool(len(pool))

        def public(of: Array) -> dict[str, Array]:
            drawn = random.permutation(len(pool))[: settings.teachers]
            theirs = [pool[t].reshape(own.shape)[:, of] for t in drawn]
            wanted = targets(theirs, own[:, of], settings)
            batch = {head_name("reference_target", k): wanted[k - 1] for k in range(1, settings.heads + 1)}
            if settings.embedding_weight:
                ones = np.ones((len(of), self.context.features), np.float32)
                batch["reference_target_embedding"] = self.embeddings[drawn[0]][of] if len(drawn) else ones
            return batch

        return train(
            engine,
            self.context,
            settings,
            number,
            public=public,
            reference_batch=settings.reference_batch,
            hyper=hyper,
        )

    def _refresh(self, result: ExchangeResult) -> int:
        """Put what arrived into the pool, in the order of names; returns how much of it was refused."""
        labels, features = result.of(SOFT_LABELS.name), result.of(FEATURES.name)
        valid = [j for j in labels if distributions(labels[j])]
        if self.settings.embedding_weight:
            valid = [j for j in valid if j in features and np.abs(features[j]).max() < LONGEST]
        size = self.settings.pool or len(self.context.neighbours)
        if valid:
            self.pool = _renewed(self.pool, [labels[j] for j in valid], size)
            if self.settings.embedding_weight:
                self.embeddings = _renewed(self.embeddings, [features[j] for j in valid], size)
        return len(labels) - len(valid)


def targets(theirs: Sequence[Array], own: Array, settings: MultiHeadedSettings) -> Array:
    """What each auxiliary head is trained towards, (H, n, K) float32: the chosen head k-1.

    theirs: the sampled teachers' heads 0 .. H-1, each (H, n, K). own: the device's, (H, n, K). Each of K + 1 entries
    with a weighting.
    """
    candidates = np.stack([*theirs, own] if settings.own_target or not theirs else theirs)
    chosen: Array
    if settings.weighting != weighting.NONE:
        mean = candidates.mean(axis=0, dtype=np.float64)
        heads, rows, columns = mean.shape
        return weighting.target(mean.reshape(-1, columns), columns - 1).reshape(heads, rows, -1).astype(np.float32)
    if not settings.confidence:
        chosen = candidates.mean(axis=0, dtype=np.float64).astype(np.float32)
        return chosen
    surest = candidates.max(axis=3).argmax(axis=0)
    chosen = np.take_along_axis(candidates, surest[None, :, :, None], axis=0)[0]
    return chosen


def _renewed(pool: Array, fresh: list[Array], size: int) -> Array:
    """The pool with the fresh entries behind, and only the last `size`."""
    together: Array = np.stack(fresh)
    if len(pool):
        together = np.concatenate([pool, together])
    return together[-size:]


def create(context: ProtocolContext, settings: MultiHeadedSettings) -> MultiHeadedDistillation:
    """A device with a head for itself and a head for everybody."""
    return MultiHeadedDistillation(context, settings)


_: type[Protocol] = MultiHeadedDistillation


SPEC = ProtocolSpec(
    settings=MultiHeadedSettings,
    objective=objective,
    create=create,
    sends=sends,
    kinds=(SOFT_LABELS, FEATURES),
    growing=True,
)
