"""A folder of WAV recordings, one subfolder a class: `wav:PATH?seconds=1`.

    seconds=S       longer recordings are cut to it, shorter ones end in silence; if absent, all must be equally long

Uncompressed samples of 8, 16, 24 or 32 bits become -1 to 1, (channels, T). All need one sampling rate: nothing is
resampled.
"""

import logging
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge.data._folders import labelled, unlabelled
from edge.errors import ConfigError, DataError
from edge.interfaces import Array
from edge.source import DataSource
from edge.source_options import split
from edge.specs import DataSpec

ENDINGS = (".wav",)
_log = logging.getLogger(__name__)


def read(argument: str) -> DataSource:
    """Read a folder. argument: its path and options."""
    path, recordings = _recordings(argument)
    source = labelled(path, f"wav:{path}", ENDINGS, recordings.read)
    recordings.note(f"wav:{path}")
    return source


def samples(argument: str) -> Array:
    """Read all recordings below a folder, for a reference set."""
    path, recordings = _recordings(argument)
    return unlabelled(path, f"wav:{path}", ENDINGS, recordings.read)


def _recordings(argument: str) -> tuple[str, "_Recordings"]:
    path, options = split("wav", argument, {"seconds": ""})
    try:
        seconds = float(options["seconds"] or "inf")
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ConfigError(f"data 'wav:{argument}': seconds={options['seconds']}: expected a positive number")
    return path, _Recordings(seconds)


class _Recordings:
    """Reads files one by one, all of one rate.

    seconds: that all are brought to; infinity to leave them as they are.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.first: tuple[Path, int] | None = None
        self.changed = {"cut": set[Path](), "filled up": set[Path]()}

    def read(self, file: Path) -> Array:
        """One recording as (channels, T) float32."""
        try:
            with wave.open(str(file), "rb") as recording:
                width, channels, rate = recording.getsampwidth(), recording.getnchannels(), recording.getframerate()
                raw = recording.readframes(recording.getnframes())
        except (OSError, EOFError, wave.Error) as reason:
            raise DataError(f"{file} cannot be read as WAV: {reason or 'it is cut short'}") from None
        self.first = self.first or (file, rate)
        if rate != self.first[1]:
            raise DataError(f"{file} has {rate} samples a second, {self.first[0].name} has {self.first[1]}; resample")
        if width not in DECODERS or len(raw) % (width * channels):
            raise DataError(f"{file} has samples of {width} bytes, or is cut short; expected 8, 16, 24 or 32 bits")
        sound = DECODERS[width](raw).reshape(-1, channels).T
        return sound if self.seconds == np.inf else self._fitted(sound, round(self.seconds * rate), file)

    def note(self, origin: str) -> None:
        """Log what was changed."""
        for what, files in self.changed.items():
            if files:
                _log.warning("note: %s: %d recordings were %s to %g s", origin, len(files), what, self.seconds)

    def _fitted(self, sound: Array, length: int, file: Path) -> Array:
        if sound.shape[1] != length:
            self.changed["cut" if sound.shape[1] > length else "filled up"].add(file)
        fitted = np.zeros((len(sound), length), np.float32)
        fitted[:, : sound.shape[1]] = sound[:, :length]
        return fitted


def _of_24_bits(raw: bytes) -> Array:
    three = np.frombuffer(raw, np.uint8).reshape(-1, 3)
    wide = np.zeros((len(three), 4), np.uint8)
    wide[:, 1:] = three
    scaled: Array = wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    return scaled


DECODERS: dict[int, Callable[[bytes], Array]] = {
    1: lambda raw: (np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / 128,
    2: lambda raw: np.frombuffer(raw, "<i2").astype(np.float32) / np.float32(2**15),
    3: _of_24_bits,
    4: lambda raw: np.frombuffer(raw, "<i4").astype(np.float32) / np.float32(2**31),
}
"""bytes of a sample -> how they become numbers from -1 to 1"""

SPEC = DataSpec(read=read, samples=samples, file=True)
