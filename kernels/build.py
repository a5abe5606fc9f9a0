"""Compile the kernels: `python kernels/build.py [--target TRIPLE]`.

Without a target, for this machine, with `$CC` (gcc unless set); with one, with the compiler of `pip install ziglang`.
"""

import argparse
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
VERSION = 1
"""of the operators; `murmur_kernels.VERSION` and the engine's must be the same"""
TARGETS = {
    "x86_64-linux-gnu.2.17": ("x86_64", ["-mavx2", "-mfma"]),
    "aarch64-linux-gnu.2.17": ("aarch64", []),
    "arm-linux-gnueabihf.2.17": ("armv7l", ["-mcpu=cortex_a7"]),
}
"""target of the compiler -> (what `platform.machine` says there, flags of the files with the loops)"""
PLATFORMS = {
    "x86_64-linux-gnu.2.17": "manylinux2014_x86_64",
    "aarch64-linux-gnu.2.17": "manylinux2014_aarch64",
    "arm-linux-gnueabihf.2.17": "linux_armv7l",
}
"""target of the compiler -> tag of a wheel"""
FLAGS = [
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=fast",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-sanitize=undefined",
    "-x",
    "c++",
]
FLAGS += ["-Wall", "-Wextra", f"-DMURMUR_KERNELS_VERSION={VERSION}"]


def build(target: str | None = None) -> Path:
    """Compile the library into the package and return its path. Raises CalledProcessError: the compiler failed."""
    if target is None:
        machine = platform.machine()
        compiler = shlex.split(os.environ.get("CC", "gcc"))
        loops = next((flags for name, flags in TARGETS.values() if name == machine and machine == "x86_64"), [])
    else:
        machine, loops = TARGETS[target]
        compiler = [sys.executable, "-m", "ziglang", "cc", "-target", target]
    library = HERE / "murmur_kernels" / f"murmur_kernels-{machine}.so"
    with tempfile.TemporaryDirectory(dir=HERE) as folder:
        objects = []
        for source in sorted((HERE / "src").glob("*.cc")):
            objects.append(str(Path(folder) / f"{source.stem}.o"))
            flags = FLAGS + (loops if source.stem != "register" else [])
            subprocess.run([*compiler, *flags, "-c", str(source), "-o", objects[-1]], check=True)
        fresh = Path(folder) / library.name
        subprocess.run([*compiler, "-shared", "-s", *objects, "-lm", "-o", str(fresh)], check=True)
        fresh.replace(library)
    return library


def main() -> None:
    """Build, and say what was made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=TARGETS, help="compile for another machine")
    args = parser.parse_args()
    try:
        library = build(args.target)
    except (OSError, subprocess.CalledProcessError) as reason:
        sys.exit(f"cannot compile the kernels: {reason}")
    print(f"{library} ({library.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main()
