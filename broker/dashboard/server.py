"""The page and its data over HTTP, from this package's own files: nothing is fetched from anywhere else.

GET  /                      the page
GET  /api/fleet             `FleetState.snapshot`
GET  /api/devices/ID        `FleetState.device`
POST /api/devices/ID        {"do": "acknowledge" | "forget"}, with the token; refused where there is none
"""

import hmac
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from broker.dashboard.state import FleetState
from edge.errors import ConfigError

PAGES = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/draw.js": ("draw.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
}
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:"
    ),
    "X-Content-Type-Options": "nosniff",
}
LARGEST = 1000
"""bytes of what may be posted"""
SHUTDOWN_SECONDS = 2
"""for answers under way when the server is stopped"""


def application(state: FleetState, token: str | None = None) -> Starlette:
    """Return the dashboard as an ASGI application.

    Args:
        state: of the fleet that it shows.
        token: who has it may acknowledge alarms and forget devices; without one nobody may.
    """

    def fleet(_request: Request) -> Response:
        return JSONResponse({**state.snapshot(), "writable": token is not None})

    def device(request: Request) -> Response:
        about = state.device(request.path_params["device"])
        return _error(404, "no such device") if about is None else JSONResponse(about)

    async def act(request: Request) -> Response:
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token is None:
            return _error(403, "this dashboard is read-only; start it with --token")
        if not hmac.compare_digest(sent.encode(), token.encode()):
            return _error(401, "not the token this dashboard was started with")
        actions: dict[str, Callable[[str], bool]] = {"acknowledge": state.acknowledge, "forget": state.forget}
        try:
            action = actions[json.loads(await _body(request))["do"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            return _error(400, 'expected {"do": "acknowledge"} or {"do": "forget"}')
        done = action(request.path_params["device"])
        return JSONResponse({"done": done}, 200 if done else 404)

    return Starlette(
        routes=[
            *(Route(path, _file(name, kind)) for path, (name, kind) in PAGES.items()),
            Route("/api/fleet", fleet),
            Route("/api/devices/{device:path}", device),
            Route("/api/devices/{device:path}", act, methods=["POST"]),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=_with_headers)],
        exception_handlers={HTTPException: _refused},
    )


@contextmanager
def serving(state: FleetState, host: str, port: int, token: str | None = None) -> Iterator[str]:
    """Serve the dashboard from a thread of its own while the block lasts.

    Args:
        state: of the fleet that it shows.
        host: to listen at.
        port: to listen at; 0 for any.
        token: see `application`.

    Returns:
        The page's URL.

    Raises:
        ConfigError: the port is taken, or the host is not this machine's.
    """
    try:
        listener = socket.create_server((host, port))
    except OSError as reason:
        raise ConfigError(f"--listen {host}:{port}: {reason.strerror or reason}") from None
    config = uvicorn.Config(
        application(state, token),
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _file(name: str, kind: str) -> Callable[[Request], Response]:
    content = (files("broker.dashboard") / "page" / name).read_bytes()
    return lambda _request: Response(content, media_type=kind)


async def _body(request: Request) -> bytes:
    """Read what was posted. Raises ValueError: it is longer than any request that means something."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST:
            raise ValueError(f"more than {LARGEST} bytes")
    return body


async def _with_headers(request: Request, answer: RequestResponseEndpoint) -> Response:
    response = await answer(request)
    response.headers.update(HEADERS)
    return response


def _refused(_request: Request, reason: Exception) -> Response:
    status: Any = getattr(reason, "status_code", 500)
    return _error(status, "no such page" if status == 404 else str(getattr(reason, "detail", reason)))


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)
