"""The page and its data over HTTP, from this package's own files: nothing is fetched from anywhere else.

GET  /                      the page
GET  /api/fleet             `State.snapshot`
GET  /api/devices/ID        `State.device`
POST /api/devices/ID        {"do": "acknowledge" | "forget"}, with the token; refused where there is none
"""

import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import unquote, urlsplit

from broker.dashboard.state import State
from edge.errors import ConfigError

PAGES = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/draw.js": ("draw.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
}
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:"
LARGEST = 1000
"""bytes of what may be posted"""


class _Handler(BaseHTTPRequestHandler):
    state: State
    token: str | None
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path in PAGES:
            name, kind = PAGES[path]
            content = (files("broker.dashboard") / "page" / name).read_bytes()
            self._answer(HTTPStatus.OK, content, kind)
        elif path == "/api/fleet":
            self._tell({**self.state.snapshot(), "writable": self.token is not None})
        elif path.startswith("/api/devices/"):
            found = self.state.device(unquote(path.removeprefix("/api/devices/")))
            self._tell(found or {"error": "no such device"}, HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
        else:
            self._tell({"error": "no such page"}, HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        given = self.rfile.read(int(size)) if size.isdecimal() and int(size) <= LARGEST else b""
        said = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.token is None:
            self._tell({"error": "this dashboard is read-only; start it with --token"}, HTTPStatus.FORBIDDEN)
        elif not hmac.compare_digest(said.encode(), self.token.encode()):
            self._tell({"error": "not the token this dashboard was started with"}, HTTPStatus.UNAUTHORIZED)
        else:
            self._act(unquote(urlsplit(self.path).path.removeprefix("/api/devices/")), given)

    def _act(self, device: str, given: bytes) -> None:
        try:
            what = json.loads(given)["do"]
            act = {"acknowledge": self.state.acknowledge, "forget": self.state.forget}[what]
        except (ValueError, KeyError, TypeError, RecursionError):
            self._tell({"error": 'expected {"do": "acknowledge"} or {"do": "forget"}'}, HTTPStatus.BAD_REQUEST)
            return
        done = act(device)
        self._tell({"done": done}, HTTPStatus.OK if done else HTTPStatus.NOT_FOUND)

    def _tell(self, value: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        self._answer(status, json.dumps(value).encode(), "application/json")

    def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Not on the terminal."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away in the middle of an answer is nothing to tell of."""


@contextmanager
def serving(state: State, host: str, port: int, token: str | None = None) -> Iterator[str]:
    """Serve at host:port (0 for any) while the block lasts; the page's URL. Raises ConfigError: the port is taken."""
    handler = type("Handler", (_Handler,), {"state": state, "token": token})
    try:
        server = _Server((host, port), handler)
    except OSError as reason:
        raise ConfigError(f"--listen {host}:{port}: {reason.strerror or reason}") from None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
