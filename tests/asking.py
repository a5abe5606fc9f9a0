"""Asking a page over HTTP, as a browser does."""

import json
import urllib.error
import urllib.request
from typing import Any


def ask(url: str, body: bytes | None = None, token: str | None = None) -> tuple[int, Any, Any]:
    """Status, JSON, headers."""
    request = urllib.request.Request(url, body, {"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused), refused.headers
