"""What streams bring goes into the store, on a thread each; one that has disappeared is logged once, and tried again.

What does not fit the model is left out, counted and logged; what cannot be kept, as on a full disk, comes again.
"""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge import streams
from edge.application import samples
from edge.bundle import Bundle
from edge.errors import DataError, MurmurError
from edge.interfaces import Array
from edge.payload import Payload, StreamItem
from edge.source import WIDEST_PIXEL, standard
from edge.storage.sample_store import Marks

if TYPE_CHECKING:
    from edge.storage.sample_store import SampleStore

LOOK_SECONDS = 1.0
"""between two looks where nothing has come"""
RETRY_SECONDS = (1.0, 60.0)
"""until a stream that has disappeared is looked for: at first, doubled each time, and at most"""
_log = logging.getLogger(__name__)


class Intake:
    """One stream into a store, from `start` to `close`.

    Args:
        setting: of the stream, as in "csv:log.csv?label=kind"; its marks are kept under it.
        folder: where its path begins.
        bundle: what the samples are for.
        store: takes them.

    Raises:
        ConfigError: there is no such stream, or its settings cannot be.
    """

    def __init__(self, setting: str, folder: Path, bundle: Bundle, store: "SampleStore") -> None:
        self._spec, argument = streams.parse(setting)
        self._argument = f"{folder / argument}" if self._spec.file and argument else argument
        self._name, self._bundle, self._store = setting, bundle, store
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, name=f"murmur-{setting}", daemon=True)
        self._refused, self._delay = 0, 0.0
        self._open()

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Read no more. A function of somebody else's that waits for its next sample is left to itself."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2 * LOOK_SECONDS)

    def _open(self) -> Iterator[StreamItem | None]:
        return self._spec.open(self._argument, self._store.marks(self._name), self._bundle.manifest.shape)

    def _play(self) -> None:
        while not self._stop.wait(self._delay):
            try:
                self._read()
                return
            except (MurmurError, OSError) as reason:
                if not self._delay:
                    _log.warning("%s: %s; it is tried again, and the node goes on", self._name, reason)
                self._delay = min(max(RETRY_SECONDS[0], 2 * self._delay), RETRY_SECONDS[1])
            except Exception:
                _log.exception("%s has ended", self._name)
                return

    def _read(self) -> None:
        """Take what comes, to the end of the stream or until `close`. Raises MurmurError, OSError."""
        arrivals = self._open()
        try:
            for arrival in arrivals:
                if arrival is not None:
                    self._take(arrival)
                if self._delay:
                    _log.warning("note: %s is there again", self._name)
                    self._delay = 0.0
                if self._stop.is_set() or (arrival is None and self._stop.wait(LOOK_SECONDS)):
                    return
            _log.warning("note: %s has ended; no more samples come from it", self._name)
        finally:
            if close := getattr(arrivals, "close", None):
                close()

    def _take(self, arrival: StreamItem) -> None:
        """Keep an arrival and its marks together. Raises DataError: the store cannot be written."""
        marks, sent = Marks(self._name, arrival.marks), arrival.payload
        if arrival.refusal is not None:
            self._refuse(arrival.refusal)
        if sent is not None and sent.x is None:
            self._label(sent, marks)
            return
        x, y, ids = self._fitting(sent) if sent is not None else (np.empty(0, np.float32), None, None)
        if len(x) or marks.values:
            self._store.add(x, y, ids, marks)

    def _label(self, sent: Payload, marks: Marks) -> None:
        names, labels = list[str](), list[Array]()
        rows = _rows(sent)
        if not rows:
            self._refuse("expected as many ids as labels")
        for row in rows:
            try:
                labels.append(samples.targets(self._bundle, row.y, 1))
                names += [] if row.ids is None else row.ids.tolist()
            except DataError as reason:
                self._refuse(str(reason))
        if names or marks.values:
            count = self._store.label_named(names, np.concatenate(labels) if labels else np.empty(0), marks)
            if count < len(names):
                self._refuse(f"{len(names) - count} labels came for samples that are not kept")

    def _fitting(self, sent: Payload) -> tuple[Array, Array | None, list[str] | None]:
        """The rows of a payload that fit the model, as the store takes them."""
        one = sent.x is None or sent.x.ndim <= len(self._bundle.manifest.shape)
        rows = [] if one else _rows(sent)
        fitting = []
        for part in (sent, *rows):  # all at once, or one by one
            try:
                fitting.append(self._converted(part))
            except DataError as reason:
                if part is not sent or not rows:
                    self._refuse(str(reason))
            if part is sent and fitting:
                break
        if not fitting:
            return np.empty(0, np.float32), None, None
        x, y, ids = zip(*fitting, strict=True)
        names = None if sent.ids is None else [name for several in ids for name in several]
        return np.concatenate(x), None if sent.y is None else np.concatenate(y), names

    def _converted(self, sent: Payload) -> tuple[Array, Array | None, list[str] | None]:
        """Raises DataError: it does not fit."""
        assert sent.x is not None
        x = samples.samples(self._bundle, _arranged(sent.x, self._bundle.manifest.shape, self._name))
        y = None if sent.y is None else samples.targets(self._bundle, sent.y, len(x))
        return x, y, None if sent.ids is None else sent.ids.tolist()

    def _refuse(self, reason: str) -> None:
        self._refused += 1
        if self._refused.bit_count() == 1:  # the first, the second, the fourth, ...
            _log.warning("%s: left out, %d so far: %s", self._name, self._refused, reason)


def _rows(sent: Payload) -> list[Payload]:
    """A payload row by row; none if its arrays have not the same rows."""
    parts = [
        None if part is None else [part[i : i + 1] for i in range(len(part))]
        for part in (sent.x, sent.y, sent.ids)
        if part is None or part.ndim
    ]
    lengths = {len(part) for part in parts if part is not None}
    if len(parts) < 3 or len(lengths) != 1:
        return []
    return [Payload(*(None if part is None else part[i] for part in parts)) for i in range(lengths.pop())]


def _arranged(x: Array, shape: tuple[int, ...], origin: str) -> Array:
    """Samples as data sets are brought to a model: pixels scaled, channels first, vectors for a model of vectors."""
    pixels = x.dtype.kind in "iu" and x.dtype.itemsize <= WIDEST_PIXEL
    if x.ndim < 2 or (x.shape[1:] == shape and not pixels):
        return x
    arranged = standard(x, origin)
    return arranged.reshape(len(x), -1) if len(shape) == 1 and arranged[:1].size == shape[0] else arranged
