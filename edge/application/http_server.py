"""An HTTP server of the standard library, which nobody can make hold more than it is meant to.

At most CONNECTIONS at once, each on a thread and for one request; who comes then is told 503 at once. A request that
is not there REQUEST_SECONDS after its connection, or larger than LARGEST, is refused. A page of somebody else's in a
browser on this machine reaches nothing: bodies need a type that browsers ask permission for, and on loopback the name
of the host must be this machine's. (The dashboard's server, on a workstation, is Starlette: docs/architecture.md.)
"""

import http.server
import json
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

from edge.command import cannot_listen

CONNECTIONS = 16
REQUEST_SECONDS = 10.0
LARGEST = 1_000_000
"""bytes of a body"""
LOCAL = ("127.0.0.1", "localhost", "::1")
JSON, RAW = "application/json", "application/octet-stream"
"""types of bodies that are taken"""
_BUSY = b'{"error": "too many at once"}'
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(_BUSY), _BUSY)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HttpRequest:
    """One request, whole. kind: type of its content, JSON or RAW."""

    method: str
    path: str
    content: bytes = b""
    kind: str = JSON


@dataclass(frozen=True)
class HttpAnswer:
    """What is answered."""

    status: int
    content: bytes
    kind: str = JSON

    @classmethod
    def of(cls, values: Mapping[str, Any], status: int = HTTPStatus.OK) -> "HttpAnswer":
        """Answer with an object. Raises ValueError: a number in it is not finite, which JSON has no word for."""
        return cls(status, json.dumps(dict(values), allow_nan=False).encode())


def refusal(status: int, text: str) -> HttpAnswer:
    """Return an answer that says what is wrong."""
    return HttpAnswer.of({"error": text}, status)


Respond = Callable[[HttpRequest], HttpAnswer]


@contextmanager
def serving(respond: Respond, host: str, port: int) -> Iterator[int]:
    """Serve while the block lasts, on threads of its own.

    Args:
        respond: answers requests, several at a time. What it raises is logged, and answered with 500.
        host: to listen at.
        port: to listen at; 0 for any.

    Yields:
        The port that was chosen.

    Raises:
        ConfigError: the port is taken, or the host is not this machine's.
    """
    try:
        server = _Server(respond, host, port)
    except OSError as reason:
        raise cannot_listen(host, port, reason) from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    """Accepts connections, as many as there is room for, and ends those that take too long to ask."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, respond: Respond, host: str, port: int) -> None:
        self.respond = respond
        self.names = {*LOCAL, host} if _loopback(host) else None
        self.waiting: dict[socket.socket, float] = {}
        """connection whose request is not there yet -> when it began"""
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # the parent's asks the name server who this host is

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            with suppress(OSError):
                request.sendall(BUSY)
            self.shutdown_request(request)
            return
        self.waiting[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._done(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._done(request)

    def service_actions(self) -> None:
        now = time.monotonic()
        for request, since in list(self.waiting.items()):
            if now > since + REQUEST_SECONDS:
                with suppress(OSError):  # its thread then reads the end
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        if not isinstance(sys.exception(), OSError):  # those are of clients that went away
            _log.exception("an HTTP request from %s", client_address[0])

    def _done(self, request: Any) -> None:
        self.waiting.pop(request, None)
        self._free.release()


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection: reads a request, and answers."""

    server: _Server
    timeout = REQUEST_SECONDS
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "murmur", ""

    def do_GET(self) -> None:
        """Answer."""
        self._answer()

    def do_POST(self) -> None:
        """Answer."""
        self._answer()

    def _answer(self) -> None:
        request = self._read()
        if isinstance(request, HttpAnswer):
            self._send(request)
            self._drain()
            return
        self.server.waiting.pop(self.connection, None)
        try:
            answer = self.server.respond(request)
        except Exception:
            _log.exception("%s %s", request.method, request.path)
            answer = refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "an error of the server's; its log has the reason")
        self._send(answer)

    def _read(self) -> HttpRequest | HttpAnswer:
        """The request, or why it is refused."""
        if self.server.names is not None and (host := _name(self.headers.get("Host", ""))) not in self.server.names:
            return refusal(HTTPStatus.MISDIRECTED_REQUEST, f"nothing of {host[:100]!r} is here")
        path = self.path.partition("?")[0]
        if self.command == "GET":
            return HttpRequest("GET", path)
        kind = (self.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        if kind not in (JSON, RAW):
            return refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"expected a body of Content-Type {JSON} or {RAW}")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or "Transfer-Encoding" in self.headers:
            return refusal(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        if len(length) > 12 or int(length) > LARGEST:
            return refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {LARGEST} bytes; send several requests"
            )
        content = self.rfile.read(int(length))
        if len(content) < int(length):
            raise ConnectionError("it ended amid its body")
        return HttpRequest("POST", path, content, kind)

    def _send(self, answer: HttpAnswer) -> None:
        self.close_connection = True  # what was not read of a body cannot be taken for the next request
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.content)

    def _drain(self) -> None:
        """Read on until the client has read: to close before that would take the answer back (RFC 9112, 9.6)."""
        self.connection.shutdown(socket.SHUT_WR)
        left = 4 * LARGEST
        while left > 0 and (piece := self.connection.recv(65536)):
            left -= len(piece)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Refuse what is no HTTP, or another method, in the form that all refusals have."""
        self.request_version = self.protocol_version
        self._send(refusal(code, message or HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads a line for every request."""


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _name(host: str) -> str:
    """The name in a Host header; an address of IPv6 stands in brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
