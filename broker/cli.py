"""`edge-broker`: a broker for development, and the kit for a fleet's broker in the field."""

import argparse
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from broker import embedded
from edge import renames
from edge.arguments import CommandParser
from edge.command import guarded, listen_address, renamed_flag
from edge.errors import ConfigError
from edge.messaging.broker_url import parse

DEVICE_DAYS = 730
TOKEN = "MURMUR_DASHBOARD_TOKEN"
OLD_COMMANDS = {"card": "provision"}


def main() -> int:
    """Console script; exit code 2 and one line for what can be put right, 1 for a check that failed."""
    args = _parser().parse_args()
    return guarded("edge-broker", lambda: int(args.run(args)))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="edge-broker", description="MQTT brokers for a fleet.")
    commands = parser.add_subparsers(dest="command", required=True)

    dev = commands.add_parser(
        "dev", help="run a broker on loopback until Ctrl-C: for development, without access rules"
    )
    dev.add_argument("--port", type=int, default=1883, help="default 1883")
    dev.add_argument("--kind", choices=["auto", *embedded.KINDS], default="auto")
    dev.set_defaults(run=_dev)

    init = commands.add_parser("init", help="make a fleet's folder: authority, Mosquitto's configuration, access rules")
    init.add_argument("folder", type=Path, metavar="FLEET", help="folder to make; its name is the fleet's")
    init.add_argument(
        "--host", action="append", default=[], metavar="NAME", help="name or address of the broker (repeatable)"
    )
    init.add_argument("--port", type=int, default=8883, help="default 8883")
    init.add_argument("--at", type=Path, metavar="DIR", help="where FLEET/broker will lie on the broker's machine")
    init.add_argument(
        "--devices",
        default="",
        metavar="N|ID,ID",
        help="size the broker for N devices; or enrol these, and write them into FLEET/node.toml",
    )
    init.add_argument(
        "--kind",
        action="append",
        default=[],
        metavar="NAME",
        help="of message, of another protocol (repeatable)",
    )
    init.set_defaults(run=_init)

    enrol = commands.add_parser("enrol", help="admit a device: key, certificate and node.toml for its boot partition")
    enrol.add_argument("device", metavar="DEVICE", help="its id, or monitor, server, coordinator")
    enrol.add_argument("--days", type=int, default=DEVICE_DAYS, help=f"how long it is let in; default {DEVICE_DAYS}")
    enrol.set_defaults(run=_enrol)

    revoke = commands.add_parser("revoke", help="refuse a device from now on, and have a broker on this machine reload")
    revoke.add_argument("device", metavar="DEVICE")
    revoke.set_defaults(run=_revoke)
    provision = commands.add_parser(
        "provision", aliases=list(OLD_COMMANDS), help="pack a device's credentials and what else it needs, for its card"
    )
    provision.add_argument("device", metavar="DEVICE", help="enrolled")
    provision.add_argument(
        "--with", dest="more", action="append", default=[], metavar="NAME=PATH", help="what its node.toml names"
    )
    provision.add_argument(
        "-o", "--out", type=Path, default=Path("murmur.tar"), metavar="FILE", help="default murmur.tar"
    )
    provision.set_defaults(run=_provision)
    renew = commands.add_parser("renew-signer", help="replace the key that signs rollouts, and revoke the old one")
    renew.set_defaults(run=_renew_signer)
    configure = commands.add_parser("configure", help="write the broker's configuration and rules of this release anew")
    configure.add_argument("--devices", type=int, metavar="N", help="size it for so many; default as before")
    configure.set_defaults(run=_configure)
    for command in (enrol, revoke, renew, configure, provision):
        command.add_argument("--fleet", type=Path, required=True, metavar="FLEET", help="the folder that init made")

    check = commands.add_parser("check", help="prove that what must be refused is refused")
    check.add_argument("--fleet", type=Path, metavar="FLEET", help="its rules; a throw-away fleet's if absent")
    check.add_argument(
        "--broker", metavar="HOST[:PORT]", help="a running one that has FLEET's rules; else one on loopback"
    )
    check.set_defaults(run=_check)

    monitor = commands.add_parser("monitor", help="serve what a fleet reports about itself to Prometheus, until Ctrl-C")
    monitor.add_argument("--broker", required=True, metavar="URL", help="mqtt://HOST[:PORT] or mqtts://...")
    monitor.add_argument("--fleet", required=True, metavar="NAME", help="whose status and telemetry")
    _add_credentials(monitor)
    monitor.add_argument("--listen", default="127.0.0.1:9108", metavar="HOST:PORT", help="default 127.0.0.1:9108")
    monitor.set_defaults(run=_monitor)

    dashboard = commands.add_parser("dashboard", help="show a live fleet on a page, or in this terminal, until Ctrl-C")
    dashboard.add_argument("--broker", required=True, metavar="URL", help="mqtt://HOST[:PORT] or mqtts://...")
    dashboard.add_argument("--fleet", required=True, metavar="NAME", help="whose status and telemetry")
    _add_credentials(dashboard)
    dashboard.add_argument("--listen", default="127.0.0.1:8080", metavar="HOST:PORT", help="default 127.0.0.1:8080")
    dashboard.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"whoever has the text in it may acknowledge alarms; else {TOKEN} of the environment; else nobody",
    )
    dashboard.add_argument("--token", help=argparse.SUPPRESS)
    dashboard.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="another name of this machine (repeatable)"
    )
    dashboard.add_argument("--text", action="store_true", help="in this terminal instead of on a page")
    dashboard.set_defaults(run=_dashboard)

    for command in (dev, init, enrol, provision, revoke, renew, configure, check, monitor, dashboard):
        command.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return parser


def _say(as_json: bool, line: str, **about: object) -> None:
    print(json.dumps(about) if as_json else line, flush=True)


def _add_credentials(command: argparse.ArgumentParser) -> None:
    text = "folder of edge-broker enrol monitor, for mqtts"
    command.add_argument("--credentials", type=Path, metavar="DIR", help=text)
    command.add_argument("--papers", type=Path, help=argparse.SUPPRESS)


def _credentials(args: argparse.Namespace) -> Path | None:
    folder: Path | None = renamed_flag("--credentials", args.credentials, "--papers", args.papers)
    return folder


def _stop_event() -> threading.Event:
    """Return an event that Ctrl-C and SIGTERM set."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _monitor(args: argparse.Namespace) -> int:
    from broker import monitor

    host, port = listen_address(args.listen)
    stop = _stop_event()
    with monitor.watching(args.broker, args.fleet, _credentials(args), host, port) as watch:
        url = f"http://{host}:{watch.port}/metrics"
        _say(args.json, f"{args.fleet} at {url}; Ctrl-C ends it", fleet=args.fleet, url=url)
        watch.listener.wait(stop)
    return 0


def _dashboard(args: argparse.Namespace) -> int:
    from rich.console import Console

    from broker.dashboard import server, text
    from broker.dashboard.state import FleetState
    from broker.subscriber import subscribed

    host, port = listen_address(args.listen)
    stop = _stop_event()
    state = FleetState(args.fleet, time.time, parse(args.broker).shown)
    token = _token(args)
    with subscribed(args.broker, args.fleet, _credentials(args), state.take) as listener:
        if args.text:
            text.show(Console(), state, stop, check=listener.check)
            return 0
        with server.serving(state, host, port, token, args.allow_host) as url:
            _say(args.json, f"{args.fleet} at {url}; Ctrl-C ends it", fleet=args.fleet, url=url)
            listener.wait(stop)
    return 0


def _token(args: argparse.Namespace) -> str | None:
    """The dashboard's token, which no list of processes shows. Raises ConfigError: its file has none."""
    if args.token is not None:
        print(f"edge-broker: note: --token is now --token-file FILE, or {TOKEN} in the environment", file=sys.stderr)
        return str(args.token)
    if args.token_file is None:
        return os.environ.get(TOKEN) or None
    try:
        token: str = args.token_file.read_text().strip()
    except (OSError, ValueError) as reason:
        raise ConfigError(f"--token-file {args.token_file}: {getattr(reason, 'strerror', None) or reason}") from None
    if not token:
        raise ConfigError(f"--token-file {args.token_file} is empty; write a long random text into it")
    return token


def _dev(args: argparse.Namespace) -> int:
    stop = _stop_event()
    with embedded.running(args.kind, args.port) as broker:
        line = f"{broker.name} listens at {broker.url} (this machine only); Ctrl-C ends it"
        _say(args.json, line, broker=broker.name, url=broker.url, pid=broker.pid)
        stop.wait()
    return 0


def _init(args: argparse.Namespace) -> int:
    from broker import fleet as fleets  # only now: certificates need the cryptography package

    devices = [d for d in args.devices.split(",") if d and not args.devices.isdigit()]
    count = _count(int(args.devices)) if args.devices.isdigit() else None
    name = args.folder.name
    fleet = fleets.init(args.folder, name, args.host, args.port, args.at, devices, devices=count, kinds=args.kind)
    for device in devices:
        fleets.enrol(fleet, device, DEVICE_DAYS)
    _say(
        args.json,
        f"{fleet.folder}: the broker's files are in {fleet.broker}; run mosquitto -c {fleet.at}/mosquitto.conf there. "
        f"{len(devices)} devices are enrolled (edge-broker enrol DEVICE --fleet {fleet.folder}). "
        f"Keep {fleet.folder}/authority.key where nobody else can read it.",
        fleet=fleet.name,
        folder=str(fleet.folder),
        url=fleet.url,
        devices=devices,
    )
    return 0


def _enrol(args: argparse.Namespace) -> int:
    from broker import fleet

    if args.days < 1:
        raise ConfigError(f"--days {args.days}: expected 1 or more")
    known = fleet.read(args.fleet)
    folder = fleet.enrol(known, args.device, args.days)
    rest = "" if fleet.reload(known) else f"; copy {known.broker}/acl to a broker that runs, and send it SIGHUP"
    _say(args.json, f"{folder}: copy it to the device{rest}", device=args.device, folder=str(folder))
    return 0


def _count(devices: int) -> int:
    """Check a number of devices. Raises ConfigError."""
    if not 1 <= devices <= 10_000:
        raise ConfigError(f"--devices {devices}: expected 1 to 10,000, or their names")
    return devices


def _configure(args: argparse.Namespace) -> int:
    from broker import fleet

    count = None if args.devices is None else _count(args.devices)
    known = fleet.write_configuration(fleet.read(args.fleet), count)
    line = f"{known.broker}: mosquitto.conf and acl for {known.devices} devices; copy them to the broker and restart it"
    _say(args.json, line, folder=str(known.broker), devices=known.devices)
    return 0


def _provision(args: argparse.Namespace) -> int:
    from broker import fleet

    renames.name(args.command, OLD_COMMANDS)
    more = {}
    for entry in args.more:
        name, equals, path = entry.partition("=")
        if not (name and equals and path):
            raise ConfigError(f"--with {entry}: expected NAME=PATH, as in --with bundle=exported/bundle")
        more[name] = Path(path)
    size = fleet.provision(fleet.read(args.fleet), args.device, more, args.out)
    line = (
        f"{args.out}: {size / 1e6:.1f} MB, with the device's key; copy it to its card's first partition as murmur.tar"
    )
    _say(args.json, line, device=args.device, file=str(args.out), bytes=size)
    return 0


def _revoke(args: argparse.Namespace) -> int:
    from broker import fleet

    known = fleet.read(args.fleet)
    folder = fleet.revoke(known, args.device)
    reloaded = fleet.reload(known)
    rest = "the broker on this machine has read the list"
    if not reloaded:
        rest = f"copy revoked.pem and acl of {known.broker} to the broker and send it SIGHUP"
    line = f"{args.device} is revoked ({folder}); {rest}"
    _say(args.json, line, device=args.device, folder=str(folder), told=reloaded)
    return 0


def _renew_signer(args: argparse.Namespace) -> int:
    from broker import fleet

    folder = fleet.renew_signer(fleet.read(args.fleet))
    line = f"the old signer is revoked ({folder}); devices refuse it from the next rollout or card on"
    _say(args.json, line, fleet=str(args.fleet), folder=str(folder))
    return 0


def _check(args: argparse.Namespace) -> int:
    from broker import check

    if args.broker and not args.fleet:
        raise ConfigError("--broker: name the fleet whose rules it has, with --fleet")
    with check.target(args.fleet, check.host_and_port(args.broker) if args.broker else None) as target:
        checks = []
        for one in check.run(target):
            checks.append(one)
            if not args.json:
                print(f"{'ok  ' if one.ok else 'FAIL'}  {one.name:<48} {one.answer}", flush=True)
    ok = all(one.ok for one in checks)
    line = f"{sum(one.ok for one in checks)} of {len(checks)} checks passed"
    _say(args.json, line, ok=ok, checks=[{"name": one.name, "ok": one.ok, "found": one.answer} for one in checks])
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
