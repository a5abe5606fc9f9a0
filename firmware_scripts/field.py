"""Boards in the field, from a workstation, over the fleet's broker. The operator's papers: edge-broker enrol operator.

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
from broker.check import address
from edge.command import guarded
from edge.errors import ConfigError
from edge_report.document import Section, show
from firmware_scripts import operating
from firmware_scripts.operating import Operator, Row

COLUMNS = {
    "round": ("round", "{:.0f}"),
    "accuracy_all": ("accuracy", "{:.3f}"),
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
    parser = argparse.ArgumentParser(prog="field", description="Boards in the field, over the fleet's broker.")
    commands = parser.add_subparsers(dest="command", required=True)
    inventory = commands.add_parser("inventory", help="which devices there are, and how they are")
    inventory.set_defaults(run=_inventory)
    rollout = commands.add_parser("rollout", help="bring a bundle to all that are there, stage by stage")
    rollout.add_argument("bundle", type=Path, metavar="BUNDLE")
    rollout.add_argument("--stages", default="1,25%,100%", metavar="N,N%,...", help="of the devices; 1,25%%,100%%")
    rollout.add_argument("--rounds", type=int, default=2, metavar="N", help="that a stage has to do with it; 2")
    rollout.set_defaults(run=_rollout)
    collect = commands.add_parser("collect", help="metrics and logs of all that are there")
    collect.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="one folder a device in it")
    collect.set_defaults(run=_collect)
    for command, patience in ((inventory, 30), (rollout, 600), (collect, 120)):
        command.add_argument("--fleet", type=Path, required=True, metavar="FLEET", help="folder of edge-broker init")
        command.add_argument(
            "--broker", metavar="HOST[:PORT]", help="where it is from here; as devices know it if absent"
        )
        command.add_argument(
            "--patience", type=float, default=patience, metavar="SECONDS", help=f"for a silent device; {patience}"
        )
        command.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = parser.parse_args()
    return guarded("field", lambda: int(args.run(args)))


@contextmanager
def _connected(args: argparse.Namespace) -> Iterator[Operator]:
    fleet = fleets.read(args.fleet)
    host, port = address(args.broker) if args.broker else (fleet.hosts[0], fleet.port)
    with operating.connected(fleet, host, port, args.patience) as operator:
        yield operator


def _there(operator: Operator) -> list[str]:
    found = sorted(device for device, on in operator.online.items() if on)
    if not found:
        known = len(operator.online)
        raise ConfigError(
            f"no device of {operator.fleet.name} is online ({known} have been); is its broker the right one?"
        )
    return found


def _inventory(args: argparse.Namespace) -> int:
    with _connected(args) as operator:
        found = operating.inventory(operator, args.patience)
    if args.json:
        print(json.dumps({"fleet": operator.fleet.name, "devices": found}))
    else:
        show(Console(), [section(operator.fleet.name, found)])
    return 0


def section(name: str, found: dict[str, Row]) -> Section:
    """The inventory, for people."""
    shown = {key: about for key, about in COLUMNS.items() if any(key in row for row in found.values())}
    rows = []
    for device, row in found.items():
        state = ", away" if not row["online"] else "" if len(row) > 1 else ", silent"
        cells = [form.format(row[key]) if key in row else "" for key, (_, form) in shown.items()]
        rows.append((f"{device}{state}", *cells))
    wrong = [f"put right: {device}: {', '.join(what)}" for device, row in found.items() if (what := troubles(row))]
    columns = ("device", *(heading for heading, _ in shown.values()))
    return Section("inventory", f"{name}: {len(found)} devices", "", columns, rows, after="\n".join(wrong))


def troubles(row: Row) -> list[str]:
    """What somebody has to put right on a device."""
    found = [text for key, text in TROUBLES.items() if row.get(key)]
    outcome = str(row.get("outcome", ""))
    return [*found, *([outcome] if outcome.startswith("refused") else [])]


def _rollout(args: argparse.Namespace) -> int:
    console = Console(stderr=True)
    with _connected(args) as operator:
        there = _there(operator)
        stages = operating.stages(there, args.stages)

        def told(line: str) -> None:
            console.print(line, highlight=False)

        operating.rollout(operator, args.bundle, stages, args.rounds, args.patience, told)
        away = sorted(set(operator.online) - set(there))
    reached = [device for stage in stages for device in stage]
    if args.json:
        print(json.dumps({"fleet": operator.fleet.name, "installed": reached, "away": away}))
    else:
        line = f"{len(reached)} of {len(operator.online)} devices have it"
        print(f"{line}; away: {', '.join(away)}; run it again when they are back" if away else line)
    return 0


def _collect(args: argparse.Namespace) -> int:
    with _connected(args) as operator:
        there = _there(operator)
        found = operating.collect(operator, there, args.out, args.patience)
    missing = sorted(set(there) - set(found))
    if args.json:
        print(json.dumps({"fleet": operator.fleet.name, "folder": str(args.out), "bytes": found, "silent": missing}))
    else:
        print(f"{args.out}: {len(found)} devices, {sum(found.values()) / 1e3:.0f} kB; edge-bench field {args.out}")
    if missing:
        raise ConfigError(
            f"silent for {args.patience:.0f} s: {', '.join(missing)}; what the others sent is in {args.out}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
