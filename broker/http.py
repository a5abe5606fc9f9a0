"""An HTTP server on a thread of its own, which nobody can make hold more than it is meant to.

At most CONNECTIONS at once, all on one thread (so every endpoint is asynchronous). Every REQUEST_SECONDS a connection
on which no answer is under way is closed, so that half a request holds nothing. A request with a body closes its
connection after the answer: what was not read of a body cannot be taken for the next request.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge.command import cannot_listen

CONNECTIONS = 200
REQUEST_SECONDS = 10.0
SHUTDOWN_SECONDS = 2
"""for answers under way when the server is stopped"""


class _Protocol(H11Protocol):
    """HTTP/1.1 whose idle and half-sent requests end."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._ending = self.loop.call_later(REQUEST_SECONDS, self._end)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ending.cancel()
        super().connection_lost(exc)

    def _end(self) -> None:
        if self.conn.our_state is h11.IDLE:
            self.transport.close()
        else:
            self._ending = self.loop.call_later(REQUEST_SECONDS, self._end)


@contextmanager
def serving(application: Starlette, host: str, port: int) -> Iterator[int]:
    """Serve an application while the block lasts.

    Args:
        application: answers the requests, on one event loop.
        host: to listen at.
        port: to listen at; 0 for any.

    Yields:
        The port that was chosen.

    Raises:
        ConfigError: the port is taken, or the host is not this machine's.
    """
    try:
        listener = socket.create_server((host, port))
    except OSError as reason:
        raise cannot_listen(host, port, reason) from None
    config = uvicorn.Config(
        application,
        http=_Protocol,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


async def body(request: Request, largest: int) -> bytes:
    """Read what was posted. Raises ValueError: it is larger than `largest` bytes, or too slow."""
    content = b""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            async for piece in request.stream():
                content += piece
                if len(content) > largest:
                    raise ValueError(f"more than {largest} bytes")
    except TimeoutError:
        raise ValueError(f"not there after {REQUEST_SECONDS:.0f} s") from None
    return content


def has_body(request: Request) -> bool:
    """Whether a request brings a body, read or not."""
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
