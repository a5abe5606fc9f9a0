"""A broker's address, as it stands in a configuration or on a command line.

>>> parse("mqtts://broker.example").port
8883
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from edge.errors import ConfigError


@dataclass(frozen=True)
class Url:
    """shown: the address without user and password, for messages and logs."""

    shown: str
    host: str
    port: int
    user: str | None
    password: str | None
    tls: bool


def parse(url: str) -> Url:
    """Parse mqtt://[USER:PASSWORD@]HOST[:PORT] or mqtts://...

    Args:
        url: as somebody wrote it.

    Returns:
        Its parts; port 1883, or 8883 with TLS, if it names none.

    Raises:
        ConfigError: anything else.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path not in ("", "/"):
        raise ConfigError(f"broker '{url}' must be mqtt://HOST[:PORT] or mqtts://HOST[:PORT]")
    tls = parts.scheme == "mqtts"
    port = port or (8883 if tls else 1883)
    return Url(f"{parts.scheme}://{parts.hostname}:{port}", parts.hostname, port, parts.username, parts.password, tls)
