"""An emulation on the dashboard's page, or its text view where there is no browser: `edge-sim --watch`."""

import os
import sys
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from rich.console import Console
from rich.live import Live

from broker.dashboard import server, text
from broker.dashboard.state import FleetState
from edge import node
from edge_sim.result import Result
from edge_sim.run import Frame, Watch


def browser() -> bool:
    """Say whether a page can be opened here for somebody to see."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    seen = sys.platform in ("darwin", "win32") or any(os.environ.get(key) for key in screens)
    try:
        return seen and webbrowser.get() is not None
    except webbrowser.Error:
        return False


class Page:
    """A watcher for `edge_sim.run` that reports to the dashboard what devices would."""

    def __init__(self) -> None:
        self.state = FleetState("edge-sim", time.time)
        self._rows: dict[str, dict[str, float]] = {}

    def __call__(self, frame: Frame) -> None:
        """Report the fleet after a round; devices that have not done it are silent."""
        self.state.name, self.state.place = frame.protocol, frame.place
        now = self.state.clock()
        for device, heads in zip(frame.devices, frame.accuracies, strict=True):
            if not device.row:
                continue
            row = {**device.row, **node.telemetry(device.traffic, device.counts)}
            if heads:
                row[f"{frame.metric}_all"] = heads[-1][0]
            self.state.report(device.id, row, now)
            self._rows[device.id] = row

    def end(self, result: Result) -> None:
        """Report who has learnt nothing, and stop the clock: no device is silent because the run is over."""
        shown = result.devices if result.protocol == self.state.name else []
        for device in shown:
            if device.id in self._rows and device.outcome:
                self.state.report(device.id, self._rows[device.id] | device.outcome, self.state.clock())
        ended = self.state.clock()
        self.state.clock = lambda: ended


@contextmanager
def page(console: Console) -> Iterator[tuple[Page, str]]:
    """Serve the dashboard, and open it where there is a browser; yield (the watcher, the page's URL)."""
    watcher = Page()
    with server.serving(watcher.state, "127.0.0.1", 0) as url:
        console.print(f"watch it at {url}", highlight=False, soft_wrap=True)
        if browser():
            webbrowser.open(url)
        yield watcher, url


@contextmanager
def in_text(console: Console, of: Page) -> Iterator[Watch]:
    """Draw the text view again after every round."""
    with Live(console=console, auto_refresh=False) as live:
        yield lambda _: live.update(text.picture(of.state.snapshot(), console.height), refresh=True)
    if not console.is_terminal:
        console.print()


def stay(console: Console, url: str) -> None:
    """Keep the page up until Ctrl-C, so that it can be looked at."""
    try:
        console.print(f"{url} stays until Ctrl-C", highlight=False, soft_wrap=True)  # which may come at once
        Event().wait()
    except KeyboardInterrupt:
        return
