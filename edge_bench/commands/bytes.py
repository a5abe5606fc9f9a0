"""`edge-bench bytes`."""

import argparse
from collections import Counter

from edge_bench import traffic
from edge_bench.traffic import Bytes, Run
from edge_report import figures
from edge_report.document import Cell, Section, fixed, size
from edge_report.finding import Progress
from edge_sim.scenario_files import read

TEXT = "What learning costs on the network, layer by layer: messages, MQTT, TLS, TCP."
FINDING = Bytes
LAYERS = ("payload", "MQTT publish", "MQTT other", "TLS", "TCP and IP")


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `edge_bench.commands`."""
    parser.add_argument("--protocol", default="d-distillation", metavar="NAME")
    parser.add_argument("--devices", type=int, default=4, metavar="N", help="4")
    parser.add_argument("--topology", default="ring")
    parser.add_argument("--model", default="zoo:mlp:64-32", metavar="zoo:NAME|FILE.onnx")
    parser.add_argument("--reference", default="300", metavar="N|npz:PATH")
    parser.add_argument("--rounds", type=int, default=20, metavar="R", help="20")
    parser.add_argument("--coding", default="simplex:8", metavar="NAME", help="of soft labels; simplex:8")
    parser.add_argument("--weight-coding", default="float32", metavar="NAME", help="of weights; float32")
    parser.add_argument("--tls", action="store_true", help="again with TLS, as edge-broker init sets it up")


def run(args: argparse.Namespace, progress: Progress) -> Bytes:
    """See `edge_bench.commands`."""
    flags = {
        "protocol": args.protocol,
        "devices": args.devices,
        "topology": args.topology,
        "model": args.model,
        "reference": args.reference,
        "rounds": args.rounds,
        "coding": {"soft_labels": args.coding, "weights": args.weight_coding},
        "transport": "mqtt",
    }
    return traffic.measure(read(None, flags), tls=args.tls, progress=progress)


def sections(found: Bytes) -> list[Section]:
    """By device and layer; by edge and kind; by round; and the layers as a picture."""
    job = found.scenario
    title = f"{job['protocol']}, {job['devices']} devices, {job['topology']}, {job['rounds']} rounds"
    rounds: dict[str, Counter[int]] = {}
    for edge in found.edges:
        for number, payload in enumerate(edge.by_round, start=1):
            rounds.setdefault(edge.kind, Counter())[number] += payload
    return [
        *(_devices(one, title) for one in found.runs),
        Section(
            "layers",
            "Bytes a device, sent and received",
            lead="Means over the devices; in kB.",
            picture=lambda: figures.bars({_name(one): _stack(one) for one in found.runs}, "kB"),
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
                for e in found.edges
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


def _name(run: Run) -> str:
    return "with TLS" if run.tls else "plain"


def _devices(run: Run, title: str) -> Section:
    """The layers, each around the one before it."""
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


def _stack(run: Run) -> dict[str, float]:
    """kB by layer, sent and received, a device."""
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
