"""A device's life in a fresh process, a part at a time; prints what each part took. Linux only, as /proc is.

    python -P memory_worker.py BUNDLE ENGINE ROWS REFERENCE NEIGHBOURS

After each part: "held", resident memory beyond what there was before it, and "peak", the most during it, in bytes. The
kernel resets the peak before each part. "messages" are two rounds in which every neighbour sends its soft labels of
REFERENCE rows, and is sent ours, through `edge.messaging.mailbox` and a network in memory.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge import process

PARTS: list[dict[str, Any]] = []


def part(name: str, work: Callable[[], Any]) -> Any:
    """Do it, and note what that took."""
    process.reset_peak()
    before = process.memory("VmRSS")
    result = work()
    PARTS.append({"name": name, "held": process.memory("VmRSS") - before, "peak": process.memory("VmHWM") - before})
    return result


def mapped() -> dict[str, int]:
    """Return the proportional and the private bytes of all that is mapped now."""
    sizes = process.mapped()
    return {"proportional": sizes["Pss"], "private": sizes["Private_Clean"] + sizes["Private_Dirty"]}


def _spec(engine: str) -> Any:
    from edge.engines import ENGINES

    return ENGINES.load(engine)


def main(path: str, engine: str, rows: str, reference: str, neighbours: str) -> None:
    """See the module."""
    PARTS.append({"name": "interpreter", "held": process.memory("VmRSS"), "peak": process.memory("VmHWM")})
    np: Any = part("numpy", lambda: __import__("numpy"))
    spec: Any = part("runtime", lambda: _spec(engine))
    part("package", lambda: [__import__(name) for name in ("edge.node", "edge.config", "edge.transports.mqtt")])
    part("random", lambda: np.random.default_rng(0).random())
    from edge import bundle as bundles
    from edge.engines import random_batch
    from edge.interfaces import Exchange, Message
    from edge.kinds import SOFT_LABELS
    from edge.messaging.inbox import Inbox
    from edge.messaging.mailbox import Mailbox
    from edge.transports.memory import Network

    bundle = bundles.read(Path(path))

    # Where engines share nothing that can be opened first, the session is the whole engine.
    opened = part("session", lambda: (spec.open or spec.create)(bundle))
    ready = part("parameters", lambda: spec.create(bundle) if spec.open else opened)
    N, R, M = int(rows), int(reference), int(neighbours)
    batch = part("batch", lambda: random_batch(bundle, N, N))
    part("training", lambda: [ready.step(batch, learning_rate=0.001) for _ in range(10)])

    samples = np.random.default_rng(1).random((R, *bundle.manifest.shape), np.float32)
    part("outputs", lambda: ready.predict(samples))
    K, digest, names = bundle.manifest.classes, bytes(8), [f"n{i}" for i in range(M)]
    form = SOFT_LABELS.format(digest, (R, K))

    def mailboxes() -> list[Mailbox]:
        network = Network("memory")
        hears = {"me": dict.fromkeys(names, (form,)), **{name: {"me": (form,)} for name in names}}
        coding = {"soft-labels": "simplex:8"}
        return [Mailbox(network.attach(me), Inbox(of), coding, lambda: 0.0) for me, of in hears.items()]

    def exchange(sender: Mailbox, receivers: list[str], number: int) -> None:
        table = np.full((R, K), 1 / K, np.float32)
        message = Message("soft-labels", number, digest, table)
        sender.send(Exchange(dict.fromkeys(receivers, (message,)), {}))

    me, *others = mailboxes()
    # What the others hold is theirs: their payloads wait in the network before ours are looked at.
    for number in (1, 2):
        for other in others:
            exchange(other, ["me"], number)

    def talk() -> list[Any]:
        received = []
        for number in (1, 2):
            me.inbox.open(number)
            exchange(me, names, number)
            me.read()
            received.append([me.inbox.take(name, "soft-labels") for name in names])
        return received

    kept = part("messages", talk)
    print(json.dumps({"parts": PARTS, "now": process.memory("VmRSS"), **mapped(), "heard": sum(map(len, kept))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
