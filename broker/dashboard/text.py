"""The dashboard for a terminal: the same state as text, drawn again every second."""

import threading
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from broker.dashboard.state import FleetState

BARS = "▁▂▃▄▅▆▇█"
WIDE = 48
"""letters of a curve"""


def show(
    console: Console,
    state: FleetState,
    stop: threading.Event,
    pause: float = 1.0,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Draw the fleet until `stop` is set; where the output is no terminal, print one picture after the other.

    Args:
        console: to draw on.
        state: of the fleet.
        stop: ends it.
        pause: seconds between two pictures.
        check: is called before each, and raises an error if nothing arrives any more.
    """
    while not console.is_terminal:
        check()
        console.print(picture(state.snapshot()))
        if stop.wait(pause):
            return
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while True:
            check()
            live.update(picture(state.snapshot(), console.height), refresh=True)
            if stop.wait(pause):
                return


def picture(fleet: dict[str, Any], height: int = 40) -> Group:
    """Return one picture: alarms, curves, and as many devices as there is room for, those with alarms first.

    Args:
        fleet: `FleetState.snapshot`.
        height: lines of the terminal.
    """
    devices = sorted(fleet["devices"], key=lambda d: (not d["alarms"], d["id"]))
    online = sum(d["online"] for d in devices)
    head = f"{fleet['fleet']}{' at ' + fleet['place'] if fleet['place'] else ''}: {online} of {len(devices)} online"
    alarms = [
        Text.assemble((f"  {kind:<10}", "bold red"), f"{d['id']}  {text}")
        for d in devices
        for kind, text in d["alarms"].items()
    ]
    curves = [_curve(key, points) for key, points in fleet["curves"].items() if points]
    table = Table("device", box=None, pad_edge=False)
    scores = fleet["scores"]
    for heading in ("round", *scores.values(), "loss", "sent", "memory", "temp.", "seen"):
        table.add_column(heading, justify="right")
    room = max(5, height - len(alarms[:6]) - len(curves) - 5)
    for d in devices[:room]:
        ago = "never" if d["ago"] is None else f"{d['ago']:.0f} s"
        cells = (
            _number(d["round"], 0),
            *(_number(d[key], 3) for key in scores),
            _number(d["loss"], 3),
            _number(d["payload_bytes_sent"], 0),
            _number(d["memory_mb"], 0),
            _number(d["temperature"], 0),
            ago,
        )
        table.add_row(escape(d["id"]), *cells, style="red" if d["alarms"] else "" if d["online"] else "dim")
    more = [Text(f"... and {len(devices) - room} more", style="dim")] if len(devices) > room else []
    return Group(Text(head, style="bold"), *alarms[:6], *curves, table, *more)


def _curve(key: str, points: list[tuple[float, float]]) -> Text:
    values = [value for _, value in points]
    step = max(1, -(-len(values) // WIDE))
    values = values[::-step][::-1]
    low, high = min(values), max(values)
    bars = "".join(BARS[min(7, int(8 * (v - low) / (high - low)))] if high > low else BARS[0] for v in values)
    return Text.assemble(f"  {key:<14}", (bars, "cyan"), f" {values[-1]:.4g}")


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
