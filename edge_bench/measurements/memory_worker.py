"""A device's life in a fresh process, a part at a time; prints what each part took. Linux only, as /proc is.

    python -P memory_worker.py BUNDLE ENGINE ROWS REFERENCE NEIGHBOURS

After each part: "held", what is resident more than before it, and "peak", the most during it, in bytes. The peak is
reset by the kernel (clear_refs) before each part. "messages" are two rounds in which every neighbour says its soft
labels about REFERENCE rows, and is told ours, through `edge.messaging.mailbox` and a network in memory.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PARTS: list[dict[str, Any]] = []
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(name: str) -> int:
    """Bytes; name: VmRSS now, VmHWM at the highest."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def part(name: str, work: Callable[[], Any]) -> Any:
    """Do it, and note what that took."""
    RESET.write_text("5")
    before = resident("VmRSS")
    done = work()
    PARTS.append({"name": name, "held": resident("VmRSS") - before, "peak": resident("VmHWM") - before})
    return done


def rollup() -> dict[str, int]:
    """Of all that is mapped now: proportional and private bytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    found = {key: int(value.split()[0]) * 1024 for key, value in lines.items()}
    return {"proportional": found["Pss"], "private": found["Private_Clean"] + found["Private_Dirty"]}


def main(path: str, engine: str, rows: str, reference: str, neighbours: str) -> None:
    """See the module."""
    PARTS.append({"name": "interpreter", "held": resident("VmRSS"), "peak": resident("VmHWM")})
    np: Any = part("numpy", lambda: __import__("numpy"))
    module: Any = part("runtime", lambda: __import__(f"edge.engines.{engine.replace('-', '_')}", fromlist=["create"]))
    part("package", lambda: [__import__(name) for name in ("edge.node", "edge.config", "edge.transports.mqtt")])
    part("random", lambda: np.random.default_rng(0).random())
    from edge import bundle as bundles
    from edge.engines._probe import random_batch
    from edge.interfaces import Exchange, Message
    from edge.kinds import SOFT_LABELS
    from edge.messaging.inbox import Inbox
    from edge.messaging.mailbox import Post
    from edge.transports.memory import Network

    bundle = bundles.read(Path(path))

    def sessions() -> Any:
        if engine != "onnx-runtime":  # whose parameters live in its interpreter
            return module.create(bundle)
        from edge.engines._session import Options, session

        return [session(bundle, f"{graph}.onnx", Options()) for graph in ("train", "predict")]

    opened = part("session", sessions)
    made = part("parameters", lambda: opened if engine != "onnx-runtime" else module.create(bundle))
    N, R, M = int(rows), int(reference), int(neighbours)
    batch = part("batch", lambda: random_batch(bundle, N, N))
    part("training", lambda: [made.step(batch, learning_rate=0.001) for _ in range(10)])

    about = np.random.default_rng(1).random((R, *bundle.manifest.shape), np.float32)
    part("outputs", lambda: made.predict(about))
    K, digest, names = bundle.manifest.classes, bytes(8), [f"n{i}" for i in range(M)]
    form = SOFT_LABELS.format(digest, (R, K))

    def posts() -> list[Post]:
        network = Network("memory")
        hears = {"me": dict.fromkeys(names, (form,)), **{name: {"me": (form,)} for name in names}}
        coding = {"soft-labels": "probability8"}
        return [Post(network.attach(me), Inbox(of), coding, lambda: 0.0) for me, of in hears.items()]

    def exchange(sender: Post, receivers: list[str], number: int) -> None:
        table = np.full((R, K), 1 / K, np.float32)
        message = Message("soft-labels", number, digest, table)
        sender.tell(Exchange(dict.fromkeys(receivers, (message,)), {}))

    me, *others = posts()
    # What the others hold is theirs: their payloads wait in the network before ours are looked at.
    for number in (1, 2):
        for other in others:
            exchange(other, ["me"], number)

    def talk() -> list[Any]:
        heard = []
        for number in (1, 2):
            me.inbox.open(number)
            exchange(me, names, number)
            me.read()
            heard.append([me.inbox.take(name, "soft-labels") for name in names])
        return heard

    kept = part("messages", talk)
    print(json.dumps({"parts": PARTS, "now": resident("VmRSS"), **rollup(), "heard": sum(map(len, kept))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
