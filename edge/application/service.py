"""What a node answers to other programs over HTTP: predictions, how it is, and samples and labels handed over.

POST /predict    samples (`edge.payload`)     {"predictions": [{"class": ..., "outputs": [...]}, ...]}
POST /observe    samples, with labels or without          {"numbers": [N, ...]}, when they are on disk
POST /label      {"number": N, "y": LABEL}, or samples' own names: {"id": NAME, "y": LABEL}
GET /healthz     200 once there is a model to predict with, 503 before
GET /metrics     of the last round, and of these requests, for Prometheus
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

from edge import payload
from edge.application import samples
from edge.application.answering import answer
from edge.application.http_server import RAW, HttpAnswer, HttpRequest, refusal, serving
from edge.bundle import Bundle
from edge.errors import BundleError, ConfigError, DataError
from edge.installation import Installation
from edge.interfaces import Array, Metrics
from edge.operations import prometheus
from edge.operations.prometheus import Labels, MetricFamily
from edge.payload import Payload

if TYPE_CHECKING:
    from edge.storage.sample_store import SampleStore

PREDICT, OBSERVE, LABEL = "/predict", "/observe", "/label"


class Predictor(Interface):
    """What predicts: a checkpoint, or a node that learns."""

    bundle: Bundle

    def predict(self, x: Array) -> Array:
        """Predict for samples (n, ...). Raises ConfigError: nothing was learnt yet."""

    def row(self) -> Metrics:
        """Return the metrics of the round last finished; none where there is nothing to predict with yet."""


class Service:
    """Answers requests, of several threads.

    Args:
        node: its settings.
        model: what predicts.
        store: takes samples in; None for a node that reads its data at the start.
    """

    def __init__(self, node: Installation, model: Predictor, store: "SampleStore | None") -> None:
        self._node, self._model, self._store = node, model, store
        self._labels: Labels = (("fleet", node.config.fleet), ("device", node.id))
        self._counts: Counter[str] = Counter()
        self._seconds = 0.0
        self._one_at_a_time = threading.Lock()
        """while a body is read, which takes many times its bytes of memory"""
        self._routes: dict[tuple[str, str], Callable[[HttpRequest], HttpAnswer]] = {
            ("GET", "/healthz"): self._health,
            ("GET", "/metrics"): self._metrics,
            ("POST", PREDICT): self._predict,
            ("POST", OBSERVE): self._observe,
            ("POST", LABEL): self._label,
        }

    def respond(self, request: HttpRequest) -> HttpAnswer:
        """Answer a request."""
        route = self._routes.get((request.method, request.path))
        if route is None:
            routes = ", ".join(f"{method} {path}" for method, path in self._routes)
            return refusal(HTTPStatus.NOT_FOUND, f"no {request.method} {request.path} is here; there are: {routes}")
        if request.method == "GET":
            return route(request)
        with self._one_at_a_time:
            result = self._tried(route, request)
            self._counts[f"{request.path} {'answered' if result.status == HTTPStatus.OK else 'refused'}"] += 1
        return result

    def _tried(self, route: Callable[[HttpRequest], HttpAnswer], request: HttpRequest) -> HttpAnswer:
        try:
            return route(request)
        except DataError as reason:
            return refusal(HTTPStatus.BAD_REQUEST, str(reason))
        except (ConfigError, BundleError) as reason:
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(reason))

    def _predict(self, request: HttpRequest) -> HttpAnswer:
        bundle = self._model.bundle
        x = self._posted(request)[1]
        start = time.monotonic()
        outputs = self._model.predict(x)
        self._seconds += time.monotonic() - start
        self._counts["rows"] += len(outputs)
        return HttpAnswer.of({"predictions": [answer(bundle, output) for output in outputs]})

    def _observe(self, request: HttpRequest) -> HttpAnswer:
        store, bundle = self._kept(), self._model.bundle
        post, x = self._posted(request, f"; a label that comes later goes to {LABEL}")
        y = None if post.y is None else samples.targets(bundle, post.y, len(x))
        return HttpAnswer.of({"numbers": store.add(x, y, None if post.ids is None else post.ids.tolist())})

    def _posted(self, request: HttpRequest, hint: str = "") -> tuple[Payload, Array]:
        """What was posted, and its samples as the model takes them. Raises DataError: there are none."""
        bundle = self._model.bundle
        post = payload.parse(request.content, bundle.manifest.shape, raw=request.kind == RAW)
        if post.x is None:
            raise DataError(f'expected {{"x": samples}}{hint}')
        return post, samples.samples(bundle, post.x)

    def _label(self, request: HttpRequest) -> HttpAnswer:
        store, bundle = self._kept(), self._model.bundle
        match _object(request):
            case {"number": int(number), "y": y, **rest} if not rest:
                store.label(number, samples.targets(bundle, y, 1)[0])
            case {"id": str(name), "y": y, **rest} if not rest:
                if not store.label_named([name], samples.targets(bundle, y, 1)):
                    raise DataError(f"no sample {name!r} is kept: it was dropped, or never added")
            case _:
                raise DataError('expected {"number": N, "y": LABEL} or {"id": NAME, "y": LABEL}')
        return HttpAnswer.of({"labelled": 1})

    def _kept(self) -> "SampleStore":
        if self._store is None:
            raise ConfigError(f"{self._node.id} takes no samples in: its settings have no `store`")
        return self._store

    def _health(self, _: HttpRequest) -> HttpAnswer:
        row = self._model.row()
        if "round" not in row:
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"{self._node.id} has not finished a round yet")
        return HttpAnswer.of({"id": self._node.id, "round": int(row["round"])})

    def _metrics(self, _: HttpRequest) -> HttpAnswer:
        row = self._model.row()
        text = prometheus.exposition([*prometheus.families(row, self._labels), *self._families()])
        return HttpAnswer(HTTPStatus.OK, text.encode(), prometheus.CONTENT_TYPE)

    def _families(self) -> Iterator[MetricFamily]:
        requests: dict[Labels, float] = {}
        for path in (PREDICT, OBSERVE, LABEL):
            for result in ("answered", "refused"):
                labels: Labels = (*self._labels, ("path", path), ("result", result))
                requests[labels] = float(self._counts[f"{path} {result}"])
        yield MetricFamily("murmur_requests_total", "HTTP requests with a body", requests, "counter")
        rows, seconds = {self._labels: float(self._counts["rows"])}, {self._labels: self._seconds}
        yield MetricFamily("murmur_predictions_total", "samples predicted over HTTP", rows, "counter")
        yield MetricFamily(
            "murmur_prediction_seconds_total", "seconds in which they were predicted", seconds, "counter"
        )
        if self._store is not None:
            yield MetricFamily(
                "murmur_samples", "samples that are kept to learn from", {self._labels: float(len(self._store))}
            )


@contextmanager
def served(node: Installation, model: Predictor, store: "SampleStore | None", host: str, port: int) -> Iterator[str]:
    """Serve a node while the block lasts.

    Args:
        node: its settings.
        model: what predicts.
        store: takes samples in; None for a node that reads its data at the start.
        host: to listen at.
        port: to listen at; 0 for any.

    Yields:
        The address, as in "http://127.0.0.1:8080".

    Raises:
        ConfigError: the port is taken, or the host is not this machine's.
    """
    with serving(Service(node, model, store).respond, host, port) as chosen:
        yield f"http://{f'[{host}]' if ':' in host else host}:{chosen}"


def _object(request: HttpRequest) -> dict[str, Any]:
    """The JSON object in a request. Raises DataError: there is none."""
    try:
        values = json.loads(request.content)
    except (ValueError, RecursionError):
        values = None
    if request.kind == RAW or not isinstance(values, dict):
        raise DataError("expected a JSON object")
    return values
