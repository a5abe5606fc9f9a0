"""`edge-node`: one device, one process; from a configuration file to the loop."""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from edge import bundle, data, mixing, plugins, split, store, topology
from edge.command import guarded
from edge.config import NodeConfig, checked, protocol_settings, read_toml
from edge.errors import ConfigError, DataError, EngineError
from edge.inbox import Inbox
from edge.interfaces import Array, Engine, Protocol, Setup
from edge.node import Row, rounds, run
from edge.transports import mqtt


def main() -> int:
    """Console script; exit code 2 and one line for what can be put right."""
    parser = argparse.ArgumentParser(prog="edge-node", description="Run one device until its last round.")
    parser.add_argument("--config", type=Path, required=True, metavar="node.toml")
    parser.add_argument("--json", action="store_true", help="one JSON object a round")
    args = parser.parse_args()
    return guarded("edge-node", lambda: _serve(args.config, args.json))


def _serve(path: Path, as_json: bool) -> int:
    config = checked(NodeConfig, read_toml(path), str(path))
    here = path.resolve().parent
    module = plugins.load("edge.protocols", config.protocol)
    found = bundle.read(here / config.bundle)
    setup, test = _setup(config, here, found.manifest.model_digest)
    found.require(module.OBJECTIVE, config.protocol)
    manifest = found.manifest
    if (manifest.shape, manifest.classes) != (setup.x.shape[1:], setup.classes):
        raise DataError(
            f"{config.bundle} takes samples of {list(manifest.shape)} and {manifest.classes} classes; "
            f"{config.data} has {list(setup.x.shape[1:])} and {setup.classes}"
        )
    settings = protocol_settings(module, config.settings, f"{path}: settings")
    engine: Engine = plugins.load("edge.engines", config.engine).create(found, threads=config.threads, seed=setup.seed)
    protocol: Protocol = module.create(setup, settings)
    checkpoint = here / config.checkpoint if config.checkpoint else None
    first = 1 + (_resume(checkpoint, engine, protocol) if checkpoint else 0)
    coding = config.coding.by_kind()
    transport = mqtt.create(url=config.broker, fleet=config.fleet, me=config.id, identity=_identity(config, here))
    inbox = Inbox(setup.neighbours)
    try:
        steps = rounds(
            protocol,
            engine,
            transport,
            inbox,
            coding=coding,
            first=first,
            last=config.rounds,
            patience=config.patience,
            now=time.monotonic,
        )
        for row in run(steps, transport, time.monotonic):
            if checkpoint:
                store.write(checkpoint, int(row["round"]), _state(engine, protocol))
            if row["round"] % config.evaluate_every == 0 or row["round"] >= config.rounds:
                row["accuracy_all"] = float((engine.predict(test[0]).argmax(axis=1) == test[1]).mean())
            row |= {
                "payload_bytes_sent": float(transport.traffic.payload_bytes_sent),
                **{f"refused_{cause}": float(count) for cause, count in inbox.counts.items() if count},
            }
            transport.report(row)
            print(json.dumps({"id": config.id, **row}) if as_json else _line(config.id, row), flush=True)
    finally:
        transport.close()
    return 0


def _setup(config: NodeConfig, here: Path, model_digest: bytes) -> tuple[Setup, tuple[Array, Array]]:
    """What the protocol is told about this device, and the test set."""
    if config.id not in config.peers:
        raise ConfigError(f"id '{config.id}' is not one of the peers: {', '.join(config.peers)}")
    graph = topology.build(_placed(config.topology, here), config.peers, config.seed)
    whole = data.load(_placed(config.data, here), config.seed)
    reference, private = data.take_reference(_placed(config.reference, here), whole, config.seed)
    me = config.peers.index(config.id)
    x, y = private.x_train, private.y_train
    if config.split is not None:
        share = split.divide(config.split, y, private.columns, len(config.peers), config.seed)[me]
        x, y = x[share], y[share]
    setup = Setup(
        me=config.id,
        weights=mixing.metropolis(graph)[config.id],
        x=x,
        y=y,
        reference_x=reference.x,
        reference_digest=reference.digest,
        model_digest=model_digest,
        classes=private.classes,
        seed=config.seed * 1_000_003 + me,
    )
    return setup, (private.x_test, private.y_test)


def _placed(spec: str, here: Path) -> str:
    """A spec whose path, if it names one, is relative to the configuration file."""
    kind, colon, path = spec.partition(":")
    if colon and kind in ("npz", "idx"):
        return f"{kind}:{here / path}"
    return str(here / spec) if (here / spec).is_file() else spec


def _identity(config: NodeConfig, here: Path) -> mqtt.Identity | None:
    if config.tls is None:
        return None
    return mqtt.Identity(here / config.tls.ca, here / config.tls.certificate, here / config.tls.key)


def _state(engine: Engine, protocol: Protocol) -> dict[str, Array]:
    held = {f"engine/{k}": v for k, v in engine.state().items()}
    return held | {f"protocol/{k}": v for k, v in protocol.state().items()}


def _resume(folder: Path, engine: Engine, protocol: Protocol) -> int:
    """Put back the newest checkpoint; returns its round, 0 if there is none."""
    found = store.read(folder)
    if found is None:
        return 0
    number, values = found
    try:
        engine.load_state(_of(values, "engine/"))
        protocol.load_state(_of(values, "protocol/"))
    except (EngineError, KeyError) as reason:
        raise ConfigError(
            f"the checkpoint in {folder} is of another model or protocol ({reason}); remove it or name another folder"
        ) from None
    return number


def _of(values: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}


def _line(me: str, row: Row) -> str:
    accuracy = f"  accuracy {row['accuracy_all']:.3f}" if "accuracy_all" in row else ""
    return (
        f"{me}  round {row['round']:.0f}  loss {row['loss']:.3f}{accuracy}  missed {row['missed']:.0f}  "
        f"sent {row['payload_bytes_sent'] / 1000:.1f} kB"
    )


if __name__ == "__main__":
    sys.exit(main())
