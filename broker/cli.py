"""`edge-broker`: a broker on this machine."""

import argparse
import json
import signal
import sys
import threading

from broker import embedded
from edge.command import guarded


def main() -> int:
    """Console script; exit code 2 and one line for what can be put right."""
    parser = argparse.ArgumentParser(prog="edge-broker", description="MQTT brokers for a fleet.")
    commands = parser.add_subparsers(dest="command", required=True)
    dev = commands.add_parser(
        "dev", help="run a broker on loopback until Ctrl-C: for development, without access rules"
    )
    dev.add_argument("--port", type=int, default=1883, help="default 1883")
    dev.add_argument("--kind", choices=["auto", *embedded.KINDS], default="auto")
    dev.add_argument("--json", action="store_true", help="say what runs as one JSON object")
    args = parser.parse_args()
    return guarded("edge-broker", lambda: _dev(args.kind, args.port, args.json))


def _dev(kind: str, port: int, as_json: bool) -> int:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with embedded.running(kind, port) as broker:
        if as_json:
            print(json.dumps({"broker": broker.name, "url": broker.url, "pid": broker.pid}), flush=True)
        else:
            print(f"{broker.name} listens at {broker.url} (this machine only); Ctrl-C ends it", flush=True)
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
