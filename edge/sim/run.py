"""Run a scenario: every protocol of it, on the same world, over memory or a real broker."""

import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from broker import embedded
from edge.algorithm import Algorithm
from edge.interfaces import DEVICE, Array
from edge.sim import fleet as fleets
from edge.sim import world as worlds
from edge.sim.convergence import Probe
from edge.sim.fleet import Device
from edge.sim.lies import Liar
from edge.sim.network import Network, in_memory, over_mqtt
from edge.sim.result import Accuracy, DeviceResult, Result, RoundResult
from edge.sim.scenario import Scenario
from edge.sim.world import Bundles, World
from edge.transports.memory import Links


@dataclass(frozen=True)
class Frame:
    """What a watcher sees after a round. Accuracies per device, None where not evaluated."""

    protocol: str
    place: str
    """where the messages go, for people"""
    devices: Sequence[Device]
    latest: RoundResult
    rounds: int
    accuracies: Sequence[list[Accuracy]] | None
    """per device, by head"""


Watch = Callable[[Frame], None]


def run(scenario: Scenario, watch: Watch = lambda _: None) -> Result:
    """Run `scenario.protocol`, then those it is compared with; the comparison is in the result.

    Raises:
        MurmurError: anything that does not fit, before the first round; a broker that is not there.
    """
    world = worlds.build(scenario)
    results = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="murmur-")))
        bundles = Bundles(world, folder)
        algorithms = [scenario.algorithm(name) for name in scenario.protocols]
        for algorithm in algorithms:  # what cannot be exported is said before anything runs
            bundles.centre(algorithm)
            for i in range(scenario.devices):
                bundles.device(algorithm, i)
        url = scenario.broker
        if scenario.transport == "mqtt" and url is None:
            url = stack.enter_context(embedded.running()).url
        for algorithm in algorithms:
            # Runs that share a broker must not hear one another; as long in memory, so that bytes are equal.
            fleet = f"{algorithm.name}-{secrets.token_hex(3) if url else '0' * 6}"
            links = _links(scenario, algorithm)
            with in_memory(fleet, links) if url is None else over_mqtt(fleet, url, time.monotonic) as network:
                results.append(_play(world, algorithm, bundles, network, watch))
    main = results[0]
    return main.model_copy(update={"comparison": [r.summary() for r in results] if scenario.compare else []})


def _links(scenario: Scenario, algorithm: Algorithm) -> Links | None:
    """The links of the devices, in bits a second; a centre's are endless."""
    if not scenario.linked:
        return None
    up, down = (None if width is None else 1000 * width for width in (scenario.uplink, scenario.downlink))
    return Links(up, down, frozenset([algorithm.centre] if algorithm.centre else []))


def _play(world: World, algorithm: Algorithm, bundles: Bundles, network: Network, watch: Watch) -> Result:
    """All rounds of one protocol."""
    scenario, name = world.scenario, algorithm.name
    fleet = list(fleets.devices(world, algorithm, bundles, network))
    members = [device for device in fleet if device.role == DEVICE]
    centre = next((device for device in fleet if device.role != DEVICE), None)
    probe = Probe(world, algorithm, bundles.folder) if scenario.convergence else None
    started = time.monotonic()
    rounds: list[RoundResult] = []
    accuracies: list[list[Accuracy]] = []
    lap = started
    for number, _ in enumerate(fleets.play(fleet, network, scenario.workers), start=1):
        apart: float | None = None
        evaluate = number % scenario.evaluate_every == 0 or number in (1, scenario.rounds)
        if evaluate:
            tables = [predicted(device, centre, world.dataset.x_test) for device in members]
            accuracies = [accuracy(t, world, device) for t, device in zip(tables, members, strict=True)]
            apart = disagreement([of_heads[-1] for of_heads in tables if of_heads])
        lap, before = time.monotonic(), lap
        rounds.append(_round(number, fleet, accuracies if evaluate else None, apart, lap - before, scenario.linked))
        if probe and number % scenario.convergence == 0:
            rounds[-1].metrics.update(probe.measure(members))
        watch(Frame(name, network.place, members, rounds[-1], scenario.rounds, accuracies if evaluate else None))
    found = [_result(device, of_heads) for device, of_heads in zip(members, accuracies, strict=True)]
    counts: dict[str, int] = {}
    for device in fleet:
        for cause, count in device.inbox.counts.items():
            counts[cause] = counts.get(cause, 0) + count
    honest = [result for device, result in zip(members, found, strict=True) if not isinstance(device.protocol, Liar)]
    return Result(
        scenario=scenario.model_dump(mode="json"),
        protocol=name,
        parameters=max(d.bundle.manifest.size for d in members if d.bundle),
        spectral_gap=world.spectral_gap,
        devices=found,
        centre=_result(centre, []) if centre else None,
        mean_accuracy=float(np.mean([d.accuracy_all for d in honest])),
        worst_accuracy=min(d.accuracy_all for d in honest),
        payload_bytes_total=sum(d.transport.traffic.payload_bytes_sent for d in fleet),
        rounds=rounds,
        counts=counts,
        seconds=time.monotonic() - started,
    )


def predicted(device: Device, centre: Device | None, x: Array) -> list[Array]:
    """By head, what the device says about `x`, (rows, classes). Being examined is no work of its engine's."""
    model = centre.engine if centre and centre.bundle else None
    before = [(engine, engine.work.copy()) for engine in (device.engine, model) if engine]
    tables = list(device.protocol.heads(device.engine, x, model))
    for engine, work in before:
        engine.work = work
    return tables


def accuracy(tables: Sequence[Array], world: World, device: Device) -> list[Accuracy]:
    """By head: (share of the test set that is right, the same weighted as the device's own classes)."""
    hits = [table.argmax(axis=1) == world.dataset.y_test for table in tables]
    return [(float(hit.mean()), float(hit @ device.own)) for hit in hits]


def disagreement(tables: Sequence[Array]) -> float | None:
    """Root mean square over devices and rows of the distance of a device's (rows, classes) from the devices' mean."""
    if not tables:
        return None
    said = np.stack(tables).astype(np.float64)
    return float(np.sqrt(((said - said.mean(axis=0)) ** 2).sum(axis=-1).mean()))


def _result(device: Device, of_heads: list[Accuracy]) -> DeviceResult:
    traffic = device.transport.traffic
    return DeviceResult(
        id=device.id,
        accuracy_all=of_heads[-1][0] if of_heads else 0.0,
        accuracy_own=of_heads[0][1] if of_heads else 0.0,
        samples=device.samples,
        accuracy_by_head=of_heads if len(of_heads) > 1 else [],
        payload_bytes_sent=traffic.payload_bytes_sent,
        payload_bytes_received=traffic.payload_bytes_received,
        wire_bytes_sent=traffic.wire_bytes_sent,
        messages_sent=traffic.messages_sent,
    )


def _round(
    number: int,
    fleet: Sequence[Device],
    accuracies: Sequence[list[Accuracy]] | None,
    apart: float | None,
    seconds: float,
    linked: bool,
) -> RoundResult:
    """Means over the devices that report a thing; what a centre reports beside them keeps its own names."""
    members = [device.row for device in fleet if device.role == DEVICE]
    keys = dict.fromkeys(k for row in members for k in row)
    means = {k: float(np.mean([row[k] for row in members if k in row])) for k in keys}
    for device in fleet:
        if device.role != DEVICE:
            means |= {f"{device.role}/{k}": v for k, v in device.row.items()}
            means.setdefault("loss", device.row.get("loss", float("nan")))
    return RoundResult(
        round=number,
        loss=means["loss"] if np.isfinite(means["loss"]) else None,
        accuracy_all=float(np.mean([a[-1][0] for a in accuracies])) if accuracies else None,
        accuracy_own=float(np.mean([a[0][1] for a in accuracies])) if accuracies else None,
        disagreement=apart,
        payload_bytes_total=sum(d.transport.traffic.payload_bytes_sent for d in fleet),
        link_seconds=means["seconds"] if linked else None,
        metrics={k: v for k, v in means.items() if k.rsplit("/", 1)[-1] not in ("round", "seconds") and k != "loss"},
        seconds=seconds,
    )
