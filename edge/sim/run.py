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
from edge import plugins
from edge.bundle import Bundle
from edge.sim import fleet as fleets
from edge.sim import world as worlds
from edge.sim.fleet import Device
from edge.sim.network import Network, in_memory, over_mqtt
from edge.sim.result import DeviceResult, Result, RoundResult
from edge.sim.scenario import Scenario
from edge.sim.world import World


@dataclass(frozen=True)
class Frame:
    """What a watcher sees after a round. Accuracies per device, None where not evaluated."""

    protocol: str
    place: str
    """where the messages go, for people"""
    devices: Sequence[Device]
    latest: RoundResult
    rounds: int
    accuracies: Sequence[tuple[float, float]] | None
    """(all classes, own classes) per device"""


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
        bundles: dict[tuple[str, ...], Bundle] = {}
        for name in scenario.protocols:
            objective = plugins.load("edge.protocols", name).OBJECTIVE
            if objective not in bundles:
                place = folder / f"bundle-{len(bundles)}"
                bundles[objective] = worlds.bundle(world, objective, scenario.optimizer, place, name)
        url = scenario.broker
        if scenario.transport == "mqtt" and url is None:
            url = stack.enter_context(embedded.running()).url
        for name in scenario.protocols:
            bundle = bundles[plugins.load("edge.protocols", name).OBJECTIVE]
            # Runs that share a broker must not hear one another; as long in memory, so that bytes are equal.
            fleet = f"{name}-{secrets.token_hex(3) if url else '0' * 6}"
            with in_memory(fleet) if url is None else over_mqtt(fleet, url, time.monotonic) as network:
                results.append(_play(scenario, world, name, bundle, network, watch))
    main = results[0]
    return main.model_copy(update={"comparison": [r.summary() for r in results] if scenario.compare else []})


def _play(scenario: Scenario, world: World, name: str, bundle: Bundle, network: Network, watch: Watch) -> Result:
    """All rounds of one protocol."""
    fleet = list(fleets.devices(scenario, world, name, bundle, network))
    started = time.monotonic()
    rounds: list[RoundResult] = []
    accuracies: list[tuple[float, float]] = []
    lap = started
    for number, _ in enumerate(fleets.play(fleet, network.idle), start=1):
        evaluate = number % scenario.evaluate_every == 0 or number in (1, scenario.rounds)
        if evaluate:
            accuracies = [accuracy(device, world) for device in fleet]
        lap, before = time.monotonic(), lap
        rounds.append(_round(number, fleet, accuracies if evaluate else None, lap - before))
        watch(Frame(name, network.place, fleet, rounds[-1], scenario.rounds, accuracies if evaluate else None))
    found = [
        DeviceResult(
            id=device.id,
            accuracy_all=of_all,
            accuracy_own=of_own,
            payload_bytes_sent=device.transport.traffic.payload_bytes_sent,
            payload_bytes_received=device.transport.traffic.payload_bytes_received,
            wire_bytes_sent=device.transport.traffic.wire_bytes_sent,
            messages_sent=device.transport.traffic.messages_sent,
        )
        for device, (of_all, of_own) in zip(fleet, accuracies, strict=True)
    ]
    counts: dict[str, int] = {}
    for device in fleet:
        for cause, count in device.inbox.counts.items():
            counts[cause] = counts.get(cause, 0) + count
    return Result(
        scenario=scenario.model_dump(mode="json"),
        protocol=name,
        parameters=sum(p.size for p in fleet[0].engine.parameters().values()),
        spectral_gap=world.spectral_gap,
        devices=found,
        mean_accuracy=float(np.mean([d.accuracy_all for d in found])),
        worst_accuracy=min(d.accuracy_all for d in found),
        payload_bytes_total=sum(d.payload_bytes_sent for d in found),
        rounds=rounds,
        counts=counts,
        seconds=time.monotonic() - started,
    )


def accuracy(device: Device, world: World) -> tuple[float, float]:
    """Shares of the test set that the device gets right: all of it, and the classes it holds."""
    hits = device.engine.predict(world.dataset.x_test).argmax(axis=1) == world.dataset.y_test
    return float(hits.mean()), float(hits[device.own].mean())


def _round(
    number: int, fleet: Sequence[Device], accuracies: Sequence[tuple[float, float]] | None, seconds: float
) -> RoundResult:
    means = {k: float(np.mean([d.row[k] for d in fleet])) for k in fleet[0].row}
    return RoundResult(
        round=number,
        loss=means["loss"],
        accuracy_all=float(np.mean([a for a, _ in accuracies])) if accuracies else None,
        accuracy_own=float(np.mean([a for _, a in accuracies])) if accuracies else None,
        payload_bytes_total=sum(d.transport.traffic.payload_bytes_sent for d in fleet),
        metrics={k: v for k, v in means.items() if k not in ("round", "loss", "seconds")},
        seconds=seconds,
    )
