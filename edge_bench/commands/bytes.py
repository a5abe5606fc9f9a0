"""`edge-bench bytes`."""

import argparse
from collections import Counter

from edge_bench import flags
from edge_bench.measurements import bytes as traffic
from edge_bench.measurements.bytes import Bytes, TrafficRun
from edge_report import figures
from edge_report.document import Cell, Section, fixed, size
from edge_report.finding import Progress
from edge_report.flags import DEFAULT
from edge_report.specs import CommandSpec
from edge_sim.scenario_files import read

LAYERS = ("payload", "MQTT publish", "MQTT other", "TLS", "TCP and IP")


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    parser.add_argument("--protocol", default="d-distillation", metavar="NAME", help="what the fleet runs" + DEFAULT)
    flags.add_fleet(parser, devices=4, rounds=20)
    parser.add_argument("--coding", default="simplex:8", metavar="NAME", help="of soft labels" + DEFAULT)
    parser.add_argument("--weight-coding", default="float32", metavar="NAME", help="of weights" + DEFAULT)
    parser.add_argument("--tls", action="store_true", help="run it again with TLS, as edge-broker init sets it up")


def run(args: argparse.Namespace, progress: Progress) -> Bytes:
    """See `CommandSpec.run`."""
    keys = ("protocol", "devices", "topology", "model", "reference", "rounds")
    coding = {"soft_labels": args.coding, "weights": args.weight_coding}
    scenario = read(None, {**{key: getattr(args, key) for key in keys}, "coding": coding, "transport": "mqtt"})
    return traffic.measure(scenario, tls=args.tls, progress=progress)


def sections(traffic: Bytes) -> list[Section]:
    """Show the layers by device, and as a picture; the payload by edge and kind, and by round."""
    job = traffic.scenario
    title = f"{job['protocol']}, {job['devices']} devices, {job['topology']}, {job['rounds']} rounds"
    rounds: dict[str, Counter[int]] = {}
    for edge in traffic.edges:
        for number, payload in enumerate(edge.by_round, start=1):
            rounds.setdefault(edge.kind, Counter())[number] += payload
    return [
        *(_devices(one, title) for one in traffic.runs),
        Section(
            "layers",
            "Bytes a device, sent and received",
            lead="Means over the devices; in kB.",
            picture=lambda: figures.bars({_name(one): _stack(one) for one in traffic.runs}, "kB"),
        ),
        Section(
            "edges",
            "By edge and kind",
            columns=("edge", "kind", "messages", "payload", "publish", "a message"),
            rows=[
                (
                    *(f"{e.sender} to {e.receiver}", " ".join([e.kind, e.coding]).rstrip(), fixed(e.messages, 0)),
                    *(size(e.payload), size(e.publish), size(e.payload / e.messages)),
                )
                for e in traffic.edges
            ],
            words=2,
        ),
        Section(
            "rounds",
            "Payload by round",
            lead="Of all devices.",
            picture=lambda: figures.lines(
                {kind: sorted(of.items()) for kind, of in rounds.items()}, "round", "bytes", from_zero=True
            ),
        ),
    ]


def _name(run: TrafficRun) -> str:
    return "with TLS" if run.tls else "plain"


def _devices(run: TrafficRun, title: str) -> Section:
    """Show the layers, each around the one before it."""
    rows: list[tuple[Cell, ...]] = []
    for line in run.devices:
        for way, of in (("sent", line.sent), ("received", line.received)):
            layers = (size(of[layer]) for layer in ("payload", "publish", "tcp", "ip"))
            ratio = fixed(of["ip"] / max(of["payload"], 1), 2)
            rows.append((f"{line.device} {way}", fixed(of["messages"], 0), *layers, fixed(of["segments"], 0), ratio))
    return Section(
        f"devices-{'tls' if run.tls else 'plain'}",
        f"{title}, {_name(run)}",
        columns=("device", "msgs", "payload", "publish", "TCP", "IP", "segments", "ratio"),
        after="Each column holds the one before it; the ratio is of the last of them, IP, to the payload.",
        rows=rows,
    )


def _stack(run: TrafficRun) -> dict[str, float]:
    """Return kB by layer, sent and received, a device."""
    total: Counter[str] = Counter()
    for line in run.devices:
        for of in (line.sent, line.received):
            total.update(of)
    other = total["acknowledge"] + total["connect"]
    stream = total["publish"] + other
    # Without TLS what is left of the stream is the broker's answers to connecting.
    left = total["tcp"] - stream
    parts = (
        total["payload"],
        total["publish"] - total["payload"],
        other + (0 if run.tls else left),
        left if run.tls else 0,
        total["ip"] - total["tcp"],
    )
    return {layer: n / 1000 / len(run.devices) for layer, n in zip(LAYERS, parts, strict=True)}


SPEC = CommandSpec(
    text="Count what learning costs on the network, layer by layer: messages, MQTT, TLS, TCP.",
    finding=Bytes,
    arguments=arguments,
    run=run,
    sections=sections,
)
