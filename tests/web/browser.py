"""A real browser: it shows pages of a folder, and the test reads their text as it changes."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.programs import program_or_skip

QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
WATCHER = """<!doctype html>
<body>
<script>
const frames = PAGES.map((url) => {
  const frame = document.createElement("iframe");
  frame.src = url;
  return document.body.appendChild(frame);
});
let before;
setInterval(() => {
  const texts = JSON.stringify(frames.map((frame) => frame.contentDocument?.body?.innerText ?? ""));
  if (texts !== before) fetch("/texts", { method: "POST", body: before = texts });
}, 50);
</script>
"""


class Texts:
    """What the pages show at present, in the order of their addresses."""

    def __init__(self, count: int) -> None:
        self.now = [""] * count


class Handler(SimpleHTTPRequestHandler):
    """Serve a folder, and the page that watches the others."""

    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012

    def __init__(self, *words: Any, pages: tuple[str, ...], texts: Texts, **named: Any) -> None:
        self.pages, self.texts = pages, texts
        super().__init__(*words, **named)

    def do_GET(self) -> None:
        if self.path != "/watcher.html":
            super().do_GET()
            return
        body = WATCHER.replace("PAGES", json.dumps(self.pages)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.texts.now = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextmanager
def shown(folder: Path, profile: Path, *pages: str) -> Iterator[Texts]:
    """Show pages of a folder in one browser.

    Args:
        folder: its files are served on loopback.
        profile: of the browser.
        pages: paths with their queries, e.g. "/train.html?data=x.npz".

    Yields:
        Their texts.
    """
    texts = Texts(len(pages))
    handler = partial(Handler, directory=str(folder), pages=pages, texts=texts)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/watcher.html"
        words = [program_or_skip("chromium"), *QUIET, f"--user-data-dir={profile}", address]
        browser = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield texts
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()
