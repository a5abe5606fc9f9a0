"""A node within an application: it learns in the background from what the application observes, and predicts."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np

from edge import bundle as bundles
from edge.application import samples, saved_model, session
from edge.application.session import Session, Stopped
from edge.config import NodeConfig, current, merged, read_toml
from edge.errors import ConfigError
from edge.installation import Installation
from edge.interfaces import Floats
from edge.node import Row
from edge.operations import rollout
from edge.operations.remote import NewBundleError

STORE = "ring:10000"
"""what is kept of observed samples unless the settings say otherwise"""
PATIENCE = 0.2
"""Seconds, at most, until a waiting node notices that it shall stop."""
_running: set[tuple[str, str, str]] = set()
_registry = threading.Lock()
_log = logging.getLogger(__name__)


class Node:
    """A device of a fleet that learns from samples as they come.

    It is `edge-node` in a thread: the same settings, checkpoints, messages and telemetry. Every method may be called
    from any thread.

    Args:
        folder: where paths of the settings begin.
        **settings: as in node.toml (docs/node.md). `store` is "ring:10000" if absent, `rounds` 0, without end.

    Raises:
        ConfigError, BundleError: settings that cannot be.
    """

    def __init__(self, *, folder: Path | str = ".", **settings: Any) -> None:
        self._open({"store": STORE, "rounds": 0, **settings}, Path(folder) / "node.toml")

    @classmethod
    def from_config(cls, path: Path | str, **over: Any) -> Self:
        """Read the settings of a file.

        Args:
            path: of node.toml.
            **over: settings that replace the file's.

        Returns:
            The node before its start.

        Raises:
            ConfigError, BundleError: settings that cannot be.
        """
        node = cls.__new__(cls)
        values = merged({"store": STORE, "rounds": 0}, merged(read_toml(Path(path)), over))
        node._open(values, Path(path))
        return node

    def _open(self, settings: dict[str, Any], path: Path) -> None:
        renamed = current(settings, NodeConfig.RENAMED, str(path))
        self._installation = Installation.of(renamed, path)
        self._bundle = bundles.read(self._installation.bundle)
        self._store = samples.store(self._installation)
        self._callbacks: list[Callable[[Row], object]] = []
        self._session: Session | None = None
        self._thread: threading.Thread | None = None
        self._stop, self._lock = threading.Event(), threading.RLock()
        self._failure: BaseException | None = None

    @property
    def id(self) -> str:
        """This node's name in its fleet."""
        return self._installation.id

    def observe(self, x: Any, y: Any = None) -> list[int]:
        """Keep samples to learn from; when this returns they are on disk.

        Args:
            x: (n, ...) samples, or one.
            y: their labels: class numbers or names, or what else the task takes; None if they come later, or never.

        Returns:
            A number for each sample, by which `label` names it.

        Raises:
            DataError: samples or labels that do not fit, or a full disk. Nothing of the call is kept.
        """
        inputs = samples.samples(self._bundle, x)
        if not len(inputs):
            return []
        return self._store.add(inputs, None if y is None else samples.targets(self._bundle, y, len(inputs)))

    def label(self, number: int, y: Any) -> None:
        """Add the label of a sample that was observed without, or correct it.

        Args:
            number: of the sample, as `observe` gave it.
            y: the label.

        Raises:
            DataError: the label does not fit, or the sample is not kept any more.
        """
        self._store.label(number, samples.targets(self._bundle, y, 1)[0])

    def predict(self, x: Any) -> Floats:
        """Predict with the newest whole parameters, while the node learns, and after.

        Args:
            x: (n, ...) samples, or one.

        Returns:
            (n, K) probabilities of the classes, or what else the task gives, float32; n is 1 for one sample.

        Raises:
            DataError: samples that do not fit.
            ConfigError: the model has not learnt anything yet.
        """
        inputs = samples.samples(self._bundle, x)
        if self._session is None or not self._session.learnt:
            raise ConfigError(
                f"{self.id} has not finished a round yet, so its model knows nothing: start() it, and wait for the "
                "first call of on_round"
            )
        return np.asarray(self._session.predict(inputs), np.float32)

    def on_round(self, callback: Callable[[Row], object]) -> None:
        """Call back after every round with its row of metrics, on the node's thread; `stop` may be called there."""
        self._callbacks.append(callback)

    def start(self) -> Self:
        """Connect, resume from the checkpoint, and learn in the background.

        Returns:
            The node.

        Raises:
            MurmurError: what cannot be; e.g. the broker is not there, or a node of that name runs in this process.
        """
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise ConfigError(f"{self.id} runs already; stop() and wait() before it is started again")
            self._claim()
            try:
                self._session = self._begun()
            except BaseException:
                self._release()
                raise
            self._failure = None
            self._stop.clear()
            self._thread = threading.Thread(target=self._play, name=f"murmur-{self.id}", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """Ask the node to stop after the step that it takes; `wait` waits for that. Safe to call twice, anywhere."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the last round, or for the end that `stop` asked for.

        Args:
            seconds: at most; without limit if absent.

        Returns:
            Whether the node has ended.

        Raises:
            ConfigError: this is called by a callback, for which the node would wait for ever.
            MurmurError: why the node ended early.
        """
        thread = self._thread
        if thread is threading.current_thread():
            raise ConfigError("wait() within a callback would wait for itself; call stop() there, and wait() outside")
        if thread is not None:
            thread.join(seconds)
            if thread.is_alive():
                return False
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return True

    def save(self, path: Path | str) -> None:
        """Write the model as it is now: one ONNX file with plain inputs and outputs, whole or not at all.

        Args:
            path: of the file, which ends in .onnx.

        Raises:
            ConfigError: another ending, it cannot be written, or nothing was learnt yet.
        """
        if self._session is None or not self._session.learnt:
            raise ConfigError(f"{self.id} has not finished a round yet; start() it, and save after the first on_round")
        saved_model.save(self._bundle, self._session.device.engine.parameters(), Path(path))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.wait()

    async def __aenter__(self) -> Self:
        import asyncio  # only now: it is large

        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *_: object) -> None:
        import asyncio

        self.stop()
        await asyncio.to_thread(self.wait)

    def _begun(self) -> Session:
        rollout.finish(self._installation.bundle, self._installation.home)
        return session.start(self._installation, self._store)

    def _play(self) -> None:
        """What the thread does."""
        try:
            while not self._stop.is_set():
                assert self._session is not None
                try:
                    self._rounds(self._session)
                    return
                except NewBundleError:
                    self._session.close()
                    self._session = self._begun()
        except BaseException as reason:
            self._failure = reason
            _log.error("%s has ended: %s", self.id, reason)
        finally:
            if self._session is not None:
                self._session.close()
            self._release()

    def _rounds(self, session: Session) -> None:
        for row in session.rows(self._alive, PATIENCE):
            for callback in self._callbacks:
                callback(row)

    def _alive(self) -> None:
        if self._stop.is_set():
            raise Stopped

    @property
    def _key(self) -> tuple[str, str, str]:
        config = self._installation.config
        return config.broker, config.fleet, config.id

    def _claim(self) -> None:
        with _registry:
            if self._key in _running:
                raise ConfigError(
                    f"a node '{self.id}' of the fleet '{self._key[1]}' runs in this process already; stop() it first, "
                    "or give this one another id"
                )
            _running.add(self._key)

    def _release(self) -> None:
        with _registry:
            _running.discard(self._key)
