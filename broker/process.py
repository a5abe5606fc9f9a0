"""A broker as a child process: started, waited for until it answers, and always ended."""

import contextlib
import ctypes
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge.errors import TransportError

PATIENCE = 15.0
"""Seconds for a broker to answer after it was started, and to end after it was asked to."""


@dataclass(frozen=True)
class Running:
    """A broker that answers. url: mqtt://127.0.0.1:PORT. pid: of its process."""

    name: str
    url: str
    port: int
    pid: int


def free_port(wanted: int | None, flag: str = "--port") -> int:
    """Return a port that is free on loopback.

    Args:
        wanted: this one; any if None.
        flag: by which somebody chose it, for the error message.

    Raises:
        TransportError: it is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted or 0))
        except OSError as reason:
            raise TransportError(
                f"port {wanted} cannot be used ({reason.strerror}); choose another with {flag}, or use the broker "
                f"that is there with --broker mqtt://127.0.0.1:{wanted}"
            ) from None
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(name: str, command: Sequence[str], port: int) -> Iterator[Running]:
    """Run a broker while the block lasts.

    Args:
        name: of the program, for messages.
        command: starts it.
        port: of loopback, at which it will listen.

    Raises:
        TransportError: it ends by itself, or does not answer in time; with the last of what it printed.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=end_with_parent if sys.platform == "linux" else None,
        start_new_session=True,  # a Ctrl-C in the terminal is for us; we end the broker last
    )
    try:
        _until_it_answers(name, process, port)
        yield Running(name, f"mqtt://127.0.0.1:{port}", port, process.pid)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _until_it_answers(name: str, process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            output = process.stderr.read().decode(errors="replace").split() if process.stderr else []
            raise TransportError(f"{name} ended at once with code {process.returncode}: {' '.join(output[-40:])}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
    raise TransportError(f"{name} does not answer on port {port} after {PATIENCE:.0f} s")


def end_with_parent() -> None:
    """Ask the kernel, in the child, to end it when its parent dies, however that happens (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
