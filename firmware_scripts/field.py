"""Boards in the field, over the fleet's broker, with the credentials of `edge-broker enrol operator`.

python -m firmware_scripts.field inventory --fleet FLEET
python -m firmware_scripts.field rollout BUNDLE --fleet FLEET [--stages 1,25%,100%]
python -m firmware_scripts.field collect -o FOLDER --fleet FLEET
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from broker import fleet as fleets
from broker.check import host_and_port
from edge.arguments import CommandParser
from edge.command import guarded, renamed_flag
from edge.errors import ConfigError
from edge.task import ON_TEST
from edge_report.document import Section, show
from firmware_scripts import operating, signed_package
from firmware_scripts.operating import Operator, Row

COLUMNS = {
    "round": ("round", "{:.0f}"),
    **{key: (title, "{:.3f}") for key, title in ON_TEST.items()},
    "timeouts": ("timeouts", "{:.0f}"),
    "bundle": ("model", "{:.8}"),
    "board": ("board", "{}"),
    "image": ("image", "{}"),
    "temperature": ("\N{DEGREE SIGN}C", "{:.0f}"),
    "memory_mb": ("MB", "{:.0f}"),
    "disk_free_mb": ("free MB", "{:.0f}"),
}
"""key of a report -> heading, and how its value is shown; a column without values is left out"""
TROUBLES = {
    "undervoltage": "supply too weak",
    "clock_unset": "clock not set",
    "checkpoints_failed": "card full",
}


def main() -> int:
    """Ask, bring, fetch."""
    parser = CommandParser(prog="field", description="Boards in the field, over the fleet's broker.")
    commands = parser.add_subparsers(dest="command", required=True)
    inventory = commands.add_parser("inventory", help="which devices there are, and how they are")
    inventory.set_defaults(run=_inventory)
    rollout = commands.add_parser("rollout", help="bring a bundle to all that are there, stage by stage")
    rollout.add_argument("bundle", type=Path, metavar="BUNDLE")
    rollout.add_argument(
        "--stages", default="1,25%,100%", metavar="N,N%,...", help="of the devices; default 1,25%%,100%%"
    )
    rollout.add_argument("--rounds", type=int, default=2, metavar="N", help="that a stage has to do with it; default 2")
    rollout.add_argument(
        "--devices", default="", metavar="ID,ID", help="the group that may take it; default all that are there"
    )
    rollout.add_argument(
        "--days", type=int, default=signed_package.DAYS, metavar="N", help="after which nobody takes it; default 7"
    )
    rollout.set_defaults(run=_rollout)
    collect = commands.add_parser("collect", help="metrics and logs of all that are there")
    collect.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="one folder a device in it")
    collect.set_defaults(run=_collect)
    for command, timeout in ((inventory, 30), (rollout, 600), (collect, 120)):
        command.add_argument("--fleet", type=Path, required=True, metavar="FLEET", help="folder of edge-broker init")
        command.add_argument(
            "--broker", metavar="HOST[:PORT]", help="where it is from here; as devices know it if absent"
        )
        text = f"how long to wait for a silent device; default {timeout}"
        command.add_argument("--timeout", type=float, metavar="SECONDS", help=text)
        command.add_argument("--patience", type=float, help=argparse.SUPPRESS)
        command.add_argument("--json", action="store_true", help="one JSON object on standard output")
        command.set_defaults(default_timeout=timeout)
    args = parser.parse_args()

    def body() -> int:
        timeout = renamed_flag("--timeout", args.timeout, "--patience", args.patience)
        args.timeout = args.default_timeout if timeout is None else timeout
        return int(args.run(args))

    return guarded("field", body)


@contextmanager
def _connected(args: argparse.Namespace) -> Iterator[Operator]:
    fleet = fleets.read(args.fleet)
    host, port = host_and_port(args.broker) if args.broker else (fleet.hosts[0], fleet.port)
    with operating.connected(fleet, host, port, args.timeout) as operator:
        yield operator


def _there(operator: Operator) -> list[str]:
    online = sorted(device for device, online in operator.online.items() if online)
    if not online:
        known = len(operator.online)
        raise ConfigError(
            f"no device of {operator.fleet.name} is online ({known} have been); is its broker the right one?"
        )
    return online


def _group(there: list[str], names: str) -> list[str]:
    """Of the devices that are online, those of a comma-separated list; all for an empty one. Raises ConfigError."""
    group = [name for name in names.split(",") if name]
    if away := sorted(set(group) - set(there)):
        raise ConfigError(f"--devices {names}: not online: {', '.join(away)}; there are: {', '.join(there)}")
    return group or there


def _inventory(args: argparse.Namespace) -> int:
    with _connected(args) as operator:
        rows = operating.inventory(operator, args.timeout)
    if args.json:
        print(json.dumps({"fleet": operator.fleet.name, "devices": rows}))
    else:
        show(Console(), [section(operator.fleet.name, rows)])
    return 0


def section(name: str, rows: dict[str, Row]) -> Section:
    """Return the inventory as a table for people.

    Args:
        name: of the fleet.
        rows: device -> its report (`operating.inventory`).
    """
    shown = {key: about for key, about in COLUMNS.items() if any(key in row for row in rows.values())}
    lines = []
    for device, row in rows.items():
        state = ", away" if not row["online"] else "" if len(row) > 1 else ", silent"
        cells = [form.format(row[key]) if key in row else "" for key, (_, form) in shown.items()]
        lines.append((f"{device}{state}", *cells))
    wrong = [f"put right: {device}: {', '.join(what)}" for device, row in rows.items() if (what := troubles(row))]
    columns = ("device", *(heading for heading, _ in shown.values()))
    return Section("inventory", f"{name}: {len(rows)} devices", "", columns, lines, after="\n".join(wrong))


def troubles(row: Row) -> list[str]:
    """Return what somebody has to put right on a device."""
    texts = [text for key, text in TROUBLES.items() if row.get(key)]
    outcome = str(row.get("outcome", ""))
    return [*texts, *([outcome] if outcome.startswith("refused") else [])]


def _rollout(args: argparse.Namespace) -> int:
    console = Console(stderr=True)
    with _connected(args) as operator:
        there = _group(_there(operator), args.devices)
        stages = operating.stages(there, args.stages)
        reached = [device for stage in stages for device in stage]
        package = signed_package.make(args.bundle, operator.fleet, reached, args.days)

        def notify(line: str) -> None:
            console.print(line, highlight=False, markup=False)

        operating.rollout(operator, package, stages, args.rounds, args.timeout, notify)
        away = sorted(device for device, online in operator.online.items() if not online)
    if args.json:
        print(json.dumps({"fleet": operator.fleet.name, "installed": reached, "away": away}))
    else:
        line = f"{len(reached)} of {len(operator.online)} devices have it"
        print(f"{line}; away: {', '.join(away)}; run it again when they are back" if away else line)
    return 0


def _collect(args: argparse.Namespace) -> int:
    with _connected(args) as operator:
        there = _there(operator)
        sizes = operating.collect(operator, there, args.out, args.timeout)
    missing = sorted(set(there) - set(sizes))
    if args.json:
        print(json.dumps({"fleet": operator.fleet.name, "folder": str(args.out), "bytes": sizes, "silent": missing}))
    else:
        print(f"{args.out}: {len(sizes)} devices, {sum(sizes.values()) / 1e3:.0f} kB; edge-bench field {args.out}")
    if missing:
        raise ConfigError(
            f"silent for {args.timeout:.0f} s: {', '.join(missing)}; what the others sent is in {args.out}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
