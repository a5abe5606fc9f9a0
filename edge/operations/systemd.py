"""Tells systemd that the node is up and still running (sd_notify(3)); does nothing elsewhere."""

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Send a state to the service manager that started this process as a service of type notify.

    Args:
        state: "READY=1", "WATCHDOG=1" or "STATUS=...", as sd_notify(3) has them.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    # A service manager that has gone away is no reason to stop learning.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode(), address)
