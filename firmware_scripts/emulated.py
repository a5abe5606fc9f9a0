"""A board's user land on this machine: a Debian of another processor in a folder, run by QEMU, without privileges.

Needs the system packages of the purposes `bootstrap` and `emulation`. What runs there says nothing about a board's
speed: imports are 8 times slower than native, ONNX Runtime about 100 times.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import join, quote

from edge.command import last_line
from edge.errors import ConfigError
from edge.process import THREAD_POOLS
from firmware_scripts import system_packages

SUITE = "bookworm"
PACKAGES = ("python3", "libc6", "libstdc++6", "libgcc-s1", "ca-certificates", "coreutils", "dash", "passwd", "sed")
CPUINFO = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
"""
"""/proc/cpuinfo of a Cortex-A72. ONNX Runtime's import crashes where it sees the host's."""


@dataclass(frozen=True)
class Machine:
    """A processor. debian: its name there. qemu: the program. model: what it emulates (aarch64: ten times faster)."""

    debian: str
    qemu: str
    model: str
    more: tuple[str, ...] = ()
    """packages that boards with it need besides PACKAGES"""
    links: tuple[tuple[str, str], ...] = ()
    """links that a package's script would have made: where, to what"""
    privileged: bool = False
    """runs in a chroot and by binfmt_misc: proot 5.1 does not know the system calls of 32-bit guests (statx)"""


_ARMHF = "usr/lib/arm-linux-gnueabihf"
MACHINES = {
    "aarch64": Machine("arm64", "qemu-aarch64-static", "cortex-a72"),
    "armv7l": Machine(
        "armhf",
        "qemu-arm-static",
        "cortex-a7",
        ("python3-numpy",),
        tuple((f"{_ARMHF}/lib{name}.so.3", f"{name}/lib{name}.so.3") for name in ("blas", "lapack")),
        True,
    ),
}
BINFMT = Path("/proc/sys/fs/binfmt_misc")


@dataclass(frozen=True)
class EmulatedBoard:
    """A user land in a folder."""

    root: Path
    machine: Machine

    def command(self, words: Sequence[str], shared: Mapping[Path, str] | None = None, folder: str = "/") -> list[str]:
        """Return the command that runs `words` on the board, as if by root.

        Args:
            words: the command there.
            shared: folder of this machine -> where it is there.
            folder: to run it in.
        """
        inside = {Path("/proc"): "/proc", Path("/dev"): "/dev", self.root.parent / "cpuinfo": "/proc/cpuinfo"}
        if self.machine.privileged:
            here = [(str(a), f"{self.root}{b}") for a, b in {Path("/proc"): "/proc", **(shared or {})}.items()]
            steps = [f"mkdir -p {quote(b)}; mount --rbind {quote(a)} {quote(b)}" for a, b in here]
            start = f"cd {quote(folder)} && exec {join(words)}"
            steps.append(f"exec chroot {quote(str(self.root))} /bin/sh -c {quote(start)}")
            return ["unshare", "--mount", "sh", "-ec", "; ".join(steps)]
        binds = [word for here, there in {**inside, **(shared or {})}.items() for word in ("-b", f"{here}:{there}")]
        return ["proot", "-0", "-q", self.machine.qemu, "-r", str(self.root), *binds, "-w", folder, *words]

    def environment(self) -> dict[str, str]:
        """Return the environment for `command`: this machine's PATH, in which proot finds QEMU, and one thread."""
        return {
            "PATH": f"/usr/sbin:/usr/bin:/sbin:/bin:{os.environ.get('PATH', '')}",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "QEMU_CPU": self.machine.model,
            **dict.fromkeys(THREAD_POOLS, "1"),
        }

    def run(self, words: Sequence[str], shared: Mapping[Path, str] | None = None, folder: str = "/") -> str:
        """Run to the end and return the standard output. Raises ConfigError with the last line of an error."""
        command = self.command(words, shared, folder)
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment())
        if done.returncode:
            why = last_line(done.stderr or done.stdout)
            raise ConfigError(f"{' '.join(words[:3])} failed on the emulated board ({done.returncode}): {why}")
        return done.stdout


def mirror(suite: str, components: str, like: str = "") -> list[str]:
    """Return the mirror that this machine's own apt uses for a suite; none where mmdebstrap has to choose.

    Args:
        suite: of Debian.
        components: of the suite, e.g. "main".
        like: a suite whose mirror also has this one, where this machine's apt does not use it.

    Returns:
        One line of sources.list, or nothing.
    """
    command = ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME) $(COMPONENT)", "Created-By: Packages"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return []
    sites = {words[1]: words[0] for words in map(str.split, listing.splitlines()) if words[2:] == ["main"]}
    site = sites.get(suite) or sites.get(like) or sites.get(SUITE)
    return [f"deb {site} {suite} {components}"] if site else []


def make(arch: str, folder: Path) -> EmulatedBoard:
    """Fetch a board's packages into `folder`/root: 8 seconds, 100 MB.

    Args:
        arch: the processor, a key of `MACHINES`.
        folder: for the user land.

    Raises:
        ConfigError: a package of this machine is missing, or mmdebstrap fails.
    """
    if arch not in MACHINES:
        raise ConfigError(f"nothing here emulates {arch}; there is: {', '.join(MACHINES)}")
    machine = MACHINES[arch]
    registered = BINFMT / machine.qemu.removesuffix("-static")
    if machine.privileged and (os.geteuid() or not registered.exists()):
        raise ConfigError(f"{arch} runs as root, with {registered} (mount binfmt_misc, then update-binfmts --enable)")
    system_packages.require("bootstrap", "emulation")
    root = folder / "root"
    command = ["mmdebstrap", "--quiet", f"--architectures={machine.debian}", "--variant=extract"]
    command += [f"--include={','.join((*PACKAGES, *machine.more))}", SUITE, str(root), *mirror(SUITE, "main")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        raise ConfigError(f"mmdebstrap failed: {last_line(errors[-1] if errors else '')}")
    for name in ("proc", "sys", "dev", "tmp", "root", "var/lib"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, text in {
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/group": "root:x:0:\n",
        "etc/shadow": "root:*:1::::::\n",
        "etc/gshadow": "root:*::\n",
    }.items():  # what a package's script would have made
        if not (root / name).exists():
            (root / name).write_text(text)
    for name, to in machine.links:
        (root / name).symlink_to(to)
    processors = root / "sys" / "devices" / "system" / "cpu"
    processors.mkdir(parents=True)
    for name in ("possible", "present", "online"):
        (processors / name).write_text("0\n")
    (folder / "cpuinfo").write_text(CPUINFO)
    return EmulatedBoard(root, machine)
