"""What a device does to its distributions before it sends them: temperature, then noise, one kind of noise a file.

A file has `SPEC = NoiseSpec(draw=..., sensitivity=...)`; `edge-bench privacy` turns the sensitivity into (epsilon,
delta). The loop does it to messages of class DISTRIBUTION; a protocol whose messages are only made of distributions
does it to those (`ProtocolContext.perturb`).

What is protected is everything a device holds: whatever its data, a row of probabilities moves by at most 2 in the sum
of absolute differences, and by the square root of 2 in the Euclidean norm. D-Distillation's z is the device's own
softmax plus what follows from all that was sent before, so that the same holds for it. Which labels a device has (rows
of zeros in class-outputs), that it is there, and when it sends are not protected.

>>> parse("gaussian:0.3")
('gaussian', 0.3)
>>> find_noise("laplace").sensitivity(300)
600.0
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge.errors import ConfigError
from edge.interfaces import Array, Floats, Message, Perturb, unchanged
from edge.kinds import CLASS_OUTPUTS, SOFT_LABELS, find
from edge.plugins import Family
from edge.specs import DISTRIBUTIONS, NoiseSpec
from edge.storage import atomic

NOISES = Family("edge.privacy", NoiseSpec, "noise")
Publish = Callable[[Message], Message]
TEMPERED = DISTRIBUTIONS
"""the classes of messages that a temperature is for"""
STREAMS = {SOFT_LABELS.number: 0, CLASS_OUTPUTS.number: 1}
"""of the noise, by kind, so that two messages of a round never have the same; the other kinds' numbers are theirs"""


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
        """What is sent instead: distributions again. A round that is sent twice gets the same noise twice."""
        kind = find(message.kind)
        if kind is None or kind.privacy not in TEMPERED:
            return message
        return replace(message, values=self.rows(message.values, message.round, STREAMS.get(kind.number, kind.number)))

    def rows(self, values: Array, number: int, stream: int = 0) -> Floats:
        """Distributions (n, K) of round `number` -> float32; a row of zeros stays one."""
        about = values.any(axis=1, keepdims=True)
        p = np.clip(values.astype(np.float64), 0, None)
        if self.temperature != 1:
            p = p ** (1 / self.temperature)
        p = _shares(p)
        if self.noise:
            random = np.random.default_rng([self.key, number, stream])
            drawn = find_noise(self.noise).draw(self.scale, p.shape, random)
            p = _shares(np.clip(p + drawn, 0, None))
        sent: Floats = np.where(about, p, 0).astype(np.float32)
        return sent


def publisher(noise: str | None, temperature: float, key: int) -> Publish:
    """Make what is done to messages before they are sent.

    Args:
        noise: "gaussian:SCALE", "laplace:SCALE" or None.
        temperature: of the distributions; 1 for none.
        key: what the noise comes from, known to nobody else.

    Returns:
        Message -> message; `as_it_is` if there is nothing to do.

    Raises:
        ConfigError: no such noise, or a scale that cannot be.
    """
    name, scale = parse(noise) if noise else ("", 0.0)
    if not name and temperature == 1:
        return as_it_is
    return Publisher(name, scale, temperature, key)


def perturbation(publish: Publish) -> Perturb:
    """Return the same for distributions that are not yet in a message."""
    return publish.rows if isinstance(publish, Publisher) else unchanged


def find_noise(setting: str) -> NoiseSpec:
    """Look up the noise that a setting names. Raises ConfigError: unknown."""
    return NOISES.load(setting.partition(":")[0])


def parse(noise: str) -> tuple[str, float]:
    """Read a setting like "gaussian:0.3" as (name, scale). Raises ConfigError."""
    name, _, text = noise.partition(":")
    find_noise(name)
    try:
        scale = float(text)
    except ValueError:
        scale = np.nan
    if not 0 < scale < np.inf:
        raise ConfigError(f"noise '{noise}': expected {name}:SCALE with a number above 0")
    return name, scale


def secret(home: Path | None) -> int:
    """Read or draw the device's own key of the noise.

    Args:
        home: the folder of its checkpoint, where the key is kept, so that a round that is sent again after a power cut
            has the same noise; None to keep it nowhere.

    Returns:
        128 random bits.

    Raises:
        ConfigError: the file is not the key, or cannot be written.
    """
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
    shares: Array = np.where(total > 0, p / np.where(total > 0, total, 1), 1 / p.shape[1])
    return shares
