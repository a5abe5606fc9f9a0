"""A folder from which a board installs Murmur offline, in one command: wheels with their hashes, unit, installer.

    python -m firmware_scripts.wheelhouse [--arch aarch64] [--python 3.11] [--engine onnxruntime] -o FOLDER [--json]

Murmur's own wheel holds `edge/` alone (edge/pyproject.toml). With ONNX Runtime comes a second one, the operators in
kernels/, compiled here for the board; a board that cannot run them says so and trains without. The others are those of
constraints.txt, for the board's processor and Python; whoever they are from, what is installed is what was downloaded
here (pip's --require-hashes). On the board, as root: `sh FOLDER/install.sh`.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from edge.arguments import CommandParser
from edge.command import guarded, last_line
from edge.errors import ConfigError
from edge.storage import atomic, digests

ROOT = Path(__file__).parents[1]
PIP = "pip==26.2"
DEVICE = Path(__file__).parent / "device"
"""what goes beside the wheels"""


ENGINES = {
    "aarch64": ("onnxruntime", "tflite"),
    "armv7l": ("tflite-runtime",),
    "x86_64": ("onnxruntime", "tflite"),
}
"""processor -> extras of the package that have wheels for it"""
WITHOUT_NUMPY = {
    "armv7l": (
        *("paho-mqtt", "pydantic", "pydantic-core", "annotated-types", "typing-extensions", "typing-inspection"),
        *("safetensors", "tflite-runtime==2.14.0"),
    )
}
"""processor that NumPy has no wheels for -> everything else that is wanted; NumPy is the board's own (python3-numpy)"""
KERNELS = {"aarch64": "aarch64-linux-gnu.2.17", "x86_64": "x86_64-linux-gnu.2.17"}
"""processor -> target for which the operators in kernels/ are compiled, where there is ONNX Runtime to use them"""
GLIBC = range(36, 16, -1)
"""minor versions whose wheels run on Debian 12, the newest first"""


@dataclass(frozen=True)
class Wheelhouse:
    """A wheelhouse in a folder. wheels: file -> its bytes."""

    folder: Path
    wheels: dict[str, int]

    @property
    def size(self) -> int:
        """Of all wheels."""
        return sum(self.wheels.values())


def tags(arch: str, python: str) -> list[str]:
    """Return pip's flags for wheels of another machine. Raises ConfigError: no engine has wheels for it.

    >>> tags("armv7l", "3.11")[-3:]
    ['3.11', '--implementation', 'cp']
    """
    if arch not in ENGINES:
        raise ConfigError(f"--arch {arch}: there are: {', '.join(ENGINES)}")
    names = [*(f"manylinux_2_{minor}_{arch}" for minor in GLIBC), f"manylinux2014_{arch}"]
    platforms = [word for name in names for word in ("--platform", name)]
    return ["--only-binary=:all:", *platforms, "--python-version", python, "--implementation", "cp"]


def build(arch: str, python: str, engine: str, folder: Path) -> Wheelhouse:
    """Download and pack what a board needs; a failure leaves nothing behind.

    Args:
        arch: the board's processor, a key of `ENGINES`.
        python: the version of its Python, e.g. "3.11".
        engine: one, or several with commas.
        folder: to make.

    Returns:
        What is in it.

    Raises:
        ConfigError: there are no wheels for that, the folder exists, or pip fails.
    """
    flags = tags(arch, python)
    if not set(engine.split(",")) <= set(ENGINES[arch]):
        raise ConfigError(f"--engine {engine}: for {arch} there are: {', '.join(ENGINES[arch])}")
    if folder.exists():
        raise ConfigError(f"{folder} is there already; name another, or remove it")
    if not folder.parent.is_dir():
        raise ConfigError(f"-o {folder}: there is no folder {folder.parent}")
    with atomic.whole(folder) as aside:
        _pip("wheel", "--no-deps", str(ROOT / "edge"), "--wheel-dir", str(aside))
        (ours,) = aside.glob("*.whl")
        constraint = ["--constraint", str(ROOT / "constraints.txt")]
        if names := WITHOUT_NUMPY.get(arch):
            _pip("download", *flags, *constraint, "--no-deps", "--dest", str(aside), *names)
            (aside / "system.txt").write_text("python3-numpy\n")
        else:
            _pip("download", *flags, *constraint, "--dest", str(aside), f"{ours}[{engine}]")
        if "onnxruntime" in engine.split(","):
            target = {"MURMUR_TARGET": KERNELS[arch]}
            _pip("wheel", "--no-deps", str(ROOT / "kernels"), "--wheel-dir", str(aside), **target)
        wheels = sorted(aside.glob("*.whl"))
        (aside / "requirements.txt").write_text("".join(map(_requirement, wheels)))
        _pip("download", *flags, "--no-deps", "--dest", str(aside), PIP)  # boards may have none
        for file in sorted(DEVICE.iterdir()):
            shutil.copy(file, aside)
        sums = [f"{digests.sha256(file)}  {file.name}\n" for file in sorted(aside.iterdir())]
        (aside / "SHA256SUMS").write_text("".join(sums))
    return Wheelhouse(folder, {wheel.name: (folder / wheel.name).stat().st_size for wheel in wheels})


def _pip(*words: str, **variables: str) -> None:
    # The time of the last commit, so that the same sources give the same wheel.
    moment = subprocess.run(
        ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False
    ).stdout.strip()
    environment = {**os.environ, "SOURCE_DATE_EPOCH": moment or "315532800", **variables}
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise ConfigError(f"pip {words[0]} failed: {last_line(errors[-1] if errors else done.stderr)}")


def _requirement(wheel: Path) -> str:
    name, version = wheel.name.split("-")[:2]
    return f"{name.replace('_', '-')}=={version} --hash=sha256:{digests.sha256(wheel)}\n"


def main() -> int:
    """Build, and print what is there."""
    parser = CommandParser(description="A folder from which a board installs Murmur offline.")
    parser.add_argument("--arch", default="aarch64", metavar="|".join(ENGINES))
    parser.add_argument("--python", default="3.11", metavar="3.X", help="of the board's system; 3.11 is Debian 12's")
    parser.add_argument(
        "--engine", default="onnxruntime", metavar="NAME,NAME", help="onnxruntime, tflite; for armv7l tflite-runtime"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    def body() -> int:
        house = build(args.arch, args.python, args.engine, args.out)
        if args.json:
            print(json.dumps({"folder": str(house.folder), "wheels": house.wheels, "bytes": house.size}))
        else:
            print(f"{house.folder}: {len(house.wheels)} wheels, {house.size / 1e6:.0f} MB; as root: sh install.sh")
        return 0

    return guarded("wheelhouse", body)


if __name__ == "__main__":
    sys.exit(main())
