"""What a TCP connection has carried, from the kernel's own counters (TCP_INFO, Linux)."""

import socket
import struct
import sys
from dataclasses import dataclass

from edge.errors import ConfigError

_INFO = 11
_SIZE = 216
"""of struct tcp_info up to bytes_retrans (Linux 4.19)"""
HEADERS = 20 + 32
"""bytes of a segment's IPv4 and TCP headers, with time stamps; the two of the handshake have 8 more"""


@dataclass(frozen=True)
class Carried:
    """Bytes that the application (or TLS) has handed over and taken, without retransmissions; segments both ways."""

    sent: int
    received: int
    segments_sent: int
    segments_received: int


def carried(connection: socket.socket) -> Carried:
    """Return what a connection has carried so far. Raises ConfigError: the kernel does not count it."""
    if not sys.platform.startswith("linux"):
        raise ConfigError("bytes on the wire are read from TCP_INFO, which Linux has")
    info = connection.getsockopt(socket.IPPROTO_TCP, _INFO, _SIZE)
    if len(info) < _SIZE:
        raise ConfigError("bytes on the wire are read from TCP_INFO, which this kernel does not have (4.19 or later)")
    (received,) = struct.unpack_from("=Q", info, 128)
    segments = struct.unpack_from("=II", info, 136)
    sent, again = struct.unpack_from("=QQ", info, 200)
    return Carried(sent - again, received, *segments)
