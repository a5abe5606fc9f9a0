"""The page and its data over HTTP, from this package's own files: nothing is fetched from anywhere else.

GET  /                      the page
GET  /api/fleet             `FleetState.snapshot`
GET  /api/devices/ID        `FleetState.device`
POST /api/devices/ID        {"do": "acknowledge" | "forget"}, with the token; refused where there is none
"""

import hmac
import json
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from broker import http
from broker.dashboard.state import FleetState

PAGES = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/draw.js": ("draw.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
}
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
LARGEST = 1000
"""bytes of what may be posted"""
LOCAL = ("127.0.0.1", "localhost", "::1")
"""names of this machine, under which a page may always be asked for"""


def application(state: FleetState, token: str | None = None, names: Collection[str] = ()) -> Starlette:
    """Return the dashboard as an ASGI application.

    Args:
        state: of the fleet that it shows.
        token: who has it may acknowledge alarms and forget devices; without one nobody may.
        names: under which the page may be asked for, besides LOCAL: a page of somebody else's, whose name suddenly
            leads here, cannot read it.
    """

    async def fleet(_request: Request) -> Response:
        return JSONResponse({**state.snapshot(), "writable": token is not None})

    async def device(request: Request) -> Response:
        about = state.device(request.path_params["device"])
        return _error(404, "no such device") if about is None else JSONResponse(about)

    async def act(request: Request) -> Response:
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token is None:
            return _error(403, "this dashboard is read-only; start it with --token-file")
        if not hmac.compare_digest(sent.encode(), token.encode()):
            return _error(401, "not the token this dashboard was started with")
        actions: dict[str, Callable[[str], bool]] = {"acknowledge": state.acknowledge, "forget": state.forget}
        try:
            action = actions[json.loads(await http.body(request, LARGEST))["do"]]
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
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=_guard({*LOCAL, *names}))],
        exception_handlers={HTTPException: _refused},
    )


@contextmanager
def serving(
    state: FleetState, host: str, port: int, token: str | None = None, names: Collection[str] = ()
) -> Iterator[str]:
    """Serve the dashboard from a thread of its own while the block lasts.

    Args:
        state: of the fleet that it shows.
        host: to listen at.
        port: to listen at; 0 for any.
        token: see `application`.
        names: see `application`; `host` is one of them.

    Yields:
        The page's URL.

    Raises:
        ConfigError: the port is taken, or the host is not this machine's.
    """
    with http.serving(application(state, token, {host, *names}), host, port) as chosen:
        yield f"http://{host}:{chosen}/"


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    content = (files("broker.dashboard") / "page" / name).read_bytes()

    async def answer(_request: Request) -> Response:
        return Response(content, media_type=kind)

    return answer


def _guard(names: Collection[str]) -> Callable[[Request, RequestResponseEndpoint], Awaitable[Response]]:
    """Refuse requests for a page of another name, and add the headers to all answers."""

    async def guarded(request: Request, answer: RequestResponseEndpoint) -> Response:
        host = request.headers.get("host", "")
        if _without_port(host) in names:
            response = await answer(request)
        else:
            response = _error(421, f"no page of {host[:100]!r} is here; allow the name with --allow-host")
        response.headers.update(HEADERS)
        if http.has_body(request):
            response.headers["Connection"] = "close"
        return response

    return guarded


def _without_port(host: str) -> str:
    """The name in a Host header; an address of IPv6 stands in brackets."""
    if host.startswith("["):
        name, bracket, _ = host[1:].partition("]")
        return name if bracket else ""
    return host.partition(":")[0].lower()


async def _refused(_request: Request, reason: Exception) -> Response:
    status: Any = getattr(reason, "status_code", 500)
    return _error(status, "no such page" if status == 404 else str(getattr(reason, "detail", reason)))


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)
