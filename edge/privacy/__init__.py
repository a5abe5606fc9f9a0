"""What a device does to its soft labels before it says them: temperature, then noise, one distribution a file.

A file has `draw(scale, shape, random)`, and `sensitivity(rows)`, how far so many rows of one device can move in the
norm that the distribution is calibrated to: `edge-bench privacy` turns that into (epsilon, delta).

What is protected is everything a device holds: whatever its data, a row of probabilities moves by at most 2 in the sum
of absolute differences, and by the square root of 2 in the Euclidean norm. D-Distillation's z is the device's own
softmax plus what follows from all that was said before, so that the same holds for it. Which labels a device has (rows
of zeros in class-outputs), that it is there, and when it speaks are not protected.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge import plugins
from edge.errors import ConfigError
from edge.interfaces import SOFT, Array, Floats, Message
from edge.storage import atomic

Publish = Callable[[Message], Message]


def as_it_is(message: Message) -> Message:
    """Nothing is done to it."""
    return message


@dataclass(frozen=True)
class Publisher:
    """noise: its name, "" for none. key: what the noise comes from, known to nobody else."""

    noise: str
    scale: float
    temperature: float
    key: int

    def __call__(self, message: Message) -> Message:
        """What is said instead: distributions again. A round that is said twice gets the same noise twice."""
        if message.kind not in SOFT:
            return message
        about = message.values.any(axis=1, keepdims=True)
        p = np.clip(message.values.astype(np.float64), 0, None)
        if self.temperature != 1:
            p = p ** (1 / self.temperature)
        p = _shares(p)
        if self.noise:
            random = np.random.default_rng([self.key, message.round, SOFT.index(message.kind)])
            drawn: Array = plugins.load("edge.privacy", self.noise).draw(self.scale, p.shape, random)
            p = _shares(np.clip(p + drawn, 0, None))
        values: Floats = np.where(about, p, 0).astype(np.float32)
        return replace(message, values=values)


def publisher(noise: str | None, temperature: float, key: int) -> Publish:
    """From the settings: "gaussian:SCALE", "laplace:SCALE" or None. Raises ConfigError."""
    name, scale = parse(noise) if noise else ("", 0.0)
    if not name and temperature == 1:
        return as_it_is
    return Publisher(name, scale, temperature, key)


def parse(noise: str) -> tuple[str, float]:
    """(name, scale). Raises ConfigError."""
    name, _, text = noise.partition(":")
    plugins.load("edge.privacy", name, "noise")
    try:
        scale = float(text)
    except ValueError:
        scale = np.nan
    if not 0 < scale < np.inf:
        raise ConfigError(f"noise '{noise}': expected {name}:SCALE with a number above 0")
    return name, scale


def secret(home: Path | None) -> int:
    """The device's own key: kept beside its checkpoint, so that it does not say a round again with other noise."""
    if home is None:
        return secrets.randbits(128)
    path = home / "noise.key"
    try:
        return int(path.read_text(), 16)
    except FileNotFoundError:
        pass
    except (OSError, ValueError):
        raise ConfigError(f"{path} is not the key that was written there; remove it to get another") from None
    key = secrets.randbits(128)
    try:
        home.mkdir(parents=True, exist_ok=True)
        atomic.write_private(path, f"{key:032x}".encode())
    except OSError as reason:
        raise ConfigError(f"cannot write {path}: {reason.strerror}") from None
    return key


def _shares(p: Array) -> Array:
    """Rows divided by their sums; uniform where nothing is above 0."""
    total = p.sum(axis=1, keepdims=True)
    found: Array = np.where(total > 0, p / np.where(total > 0, total, 1), 1 / p.shape[1])
    return found
