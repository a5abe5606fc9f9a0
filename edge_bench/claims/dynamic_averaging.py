"""A1 to A4: weights that travel only when they must, on a stream whose concept changes."""

from typing import Any

from edge.data import path
from edge_bench.claims import ClaimData, ClaimRow, Outcomes, Setting, SystemSpec, row
from edge_report.finding import mean
from edge_sim.result import Result

LEARNERS, ROUNDS, STEPS, BATCH = 10, 800, 10, 10
DRIFT = ROUNDS // 2
QUIET, BURST = 100, 50
"""rounds before and after the drift that A4 looks at"""
DELTA = 0.3


def settings(data: ClaimData) -> dict[str, Setting]:
    """Emulate ten learners, each 8,000 steps of 10 samples it sees once; the concept changes in the middle.

    If the data is a file, its rows in their order are a stream too.
    """
    rows = LEARNERS * ROUNDS * STEPS * BATCH + 10
    base: dict[str, Any] = {
        "data": f"margin-stream:{rows}:20:2:0.5",
        "devices": LEARNERS,
        "split": "iid",
        "reference": "2",
        "model": "zoo:mlp:16",
        "rounds": ROUNDS,
        "evaluate_every": ROUNDS,
    }

    def stream(name: str, **more: Any) -> dict[str, Any]:
        local = {"local_steps": STEPS, "batch_size": BATCH, "order": "stream", "learning_rate": 0.1}
        return {**base, "protocol": name, "settings": {name: {**local, **more}}}

    def short(name: str, **more: Any) -> dict[str, Any]:
        return {**stream(name, local_steps=1, **more), "rounds": 60, "evaluate_every": 60}

    by_name = {
        "isolated": Setting(stream("isolated")),
        "dynamic": Setting(stream("dynamic-averaging", threshold=DELTA), observe=("divergence",)),
        "dynamic, larger threshold": Setting(stream("dynamic-averaging", threshold=1.0)),
        "dynamic, smaller threshold": Setting(stream("dynamic-averaging", threshold=0.1)),
        "every 10 steps": Setting(stream("periodic-averaging")),
        "every 50 steps": Setting(stream("periodic-averaging", sync_interval=5)),
        "every 200 steps": Setting(stream("periodic-averaging", sync_interval=20)),
        "fedavg, 0.3 every 50 steps": Setting(stream("fedavg", sync_interval=5, fraction=0.3)),
        "never": Setting(short("dynamic-averaging", threshold=1e30), plotted=False),
        "threshold 0": Setting(short("dynamic-averaging", threshold=0.0), observe=("digest",), plotted=False),
        "continuous": Setting(short("periodic-averaging"), observe=("digest",), plotted=False),
    }
    if path(data.source):
        once = max(2, data.size // (LEARNERS * STEPS))  # one sample a step, each seen once
        real = {"data": data.source, "rounds": once, "evaluate_every": once, "model": "zoo:mlp:32"}
        slow = {"batch_size": 1, "learning_rate": 0.02}
        by_name["real stream, dynamic"] = Setting({**stream("dynamic-averaging", threshold=DELTA, **slow), **real})
        by_name["real stream, every 10 steps"] = Setting({**stream("periodic-averaging", **slow), **real})
        rarely = stream("periodic-averaging", sync_interval=20, **slow)
        by_name["real stream, every 200 steps"] = Setting({**rarely, **real})
        by_name["real stream, isolated"] = Setting({**stream("isolated", **slow), **real})
    return by_name


def transfers(result: Result, first: int = 1, last: int | None = None) -> float:
    """Return how many models were sent in some rounds, the last included: the payload left after control messages."""
    P, rows = result.parameters, result.rounds
    last = len(rows) if last is None else last
    sent = rows[last - 1].payload_bytes_total - (rows[first - 2].payload_bytes_total if first > 1 else 0)
    if result.protocol == "dynamic-averaging":
        checks = last - first + 1
        balanced = sum(r.metrics.get("coordinator/balanced", 0.0) for r in rows[first - 1 : last])
        violators = sum(r.metrics.get("coordinator/violators", 0.0) for r in rows[first - 1 : last])
        sent -= round(checks * LEARNERS * 52 + 44 * balanced + 44 * (checks * LEARNERS - violators))
    return sent / (40 + 4 * P)


def loss(result: Result) -> float:
    """Return the mean over all steps of the loss before the step."""
    return mean([r.loss for r in result.rounds if r.loss is not None])


def judge(outcomes: Outcomes) -> list[ClaimRow]:
    """Check A1 to A4."""
    divergences = [max(o.observed["divergence"]) for o in outcomes.by_setting["dynamic"]]
    same = [
        a.observed["digest"] == b.observed["digest"]
        for a, b in zip(outcomes.by_setting["threshold 0"], outcomes.by_setting["continuous"], strict=True)
    ]
    silent = outcomes.each("never", lambda r: transfers(r, 1, 60))
    moved, losses = outcomes.each("dynamic", transfers), outcomes.each("dynamic", loss)
    moved_10, losses_10 = outcomes.each("every 10 steps", transfers), outcomes.each("every 10 steps", loss)
    moved_200, losses_200 = outcomes.each("every 200 steps", transfers), outcomes.each("every 200 steps", loss)
    fewer = mean(moved_10) / max(mean(moved), 1.0)
    quiet = outcomes.each("dynamic", lambda r: transfers(r, DRIFT - QUIET + 1, DRIFT))
    burst = outcomes.each("dynamic", lambda r: transfers(r, DRIFT + 1, DRIFT + BURST))
    rows = [
        row(
            "A1",
            f"divergence at most Delta = {DELTA} after every check",
            "lemma",
            f"at most {max(divergences):.4f}",
            max(divergences) <= DELTA * (1 + 1e-6),
            divergence=divergences,
        ),
        row(
            "A2",
            "Delta = 0 is continuous averaging bit for bit; Delta = infinity sends no model",
            "by definition",
            f"{sum(same)} of {len(same)} equal; {max(silent):.0f} models",
            all(same) and max(silent) == 0,
            models=silent,
        ),
        row(
            "A3",
            "at least 10 times fewer models than averaging every 10 steps, cumulative loss within 5 %",
            "an order of magnitude",
            f"{fewer:.1f} times fewer ({mean(moved):.0f} against {mean(moved_10):.0f}), loss {mean(losses):.4f} "
            f"against {mean(losses_10):.4f}; every 200 steps: {mean(moved_200):.0f}, loss {mean(losses_200):.4f}",
            fewer >= 10 and mean(losses) <= 1.05 * mean(losses_10),
            models=moved,
            models_every_10=moved_10,
            models_every_200=moved_200,
            loss=losses,
            loss_every_10=losses_10,
            loss_every_200=losses_200,
        ),
        row(
            "A4",
            "next to no models in the 1,000 steps before the drift, a burst in the 500 after it (10 times the rate)",
            "adapts to drift",
            f"models a 1,000 steps: {mean(quiet):.0f} before, {2 * mean(burst):.0f} after",
            2 * mean(burst) >= 10 * max(mean(quiet), 1.0),
            before=quiet,
            after=burst,
        ),
    ]
    if "real stream, dynamic" in outcomes.by_setting:
        names = ("dynamic", "every 10 steps", "every 200 steps", "isolated")
        sent = [outcomes.each(f"real stream, {n}", transfers) for n in names[:3]]
        lost = [outcomes.each(f"real stream, {n}", loss) for n in names]
        rows.append(
            row(
                "A3 (real)",
                "the same on the rows of the file, in their order and once (10 times fewer, loss within 5 %)",
                "-",
                f"{mean(sent[1]) / max(mean(sent[0]), 1):.1f} times fewer, loss {mean(lost[0]):.4f} against "
                f"{mean(lost[1]):.4f}; every 200 steps {mean(sent[1]) / max(mean(sent[2]), 1):.1f} times fewer, "
                f"{mean(lost[2]):.4f}; isolated {mean(lost[3]):.4f}",
                mean(sent[1]) >= 10 * mean(sent[0]) and mean(lost[0]) <= 1.05 * mean(lost[1]),
                models=sent[0],
                models_every_10=sent[1],
                loss=lost[0],
                loss_every_10=lost[1],
            )
        )
    return rows


SPEC = SystemSpec(title="Kamp et al. 2018, Dynamic Model Averaging", settings=settings, judge=judge)
