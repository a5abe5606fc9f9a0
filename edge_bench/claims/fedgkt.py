"""G1 to G5: a small extractor at the edge, a large model on a server."""

from dataclasses import replace
from math import prod
from typing import Any

from edge.codec import HEADER
from edge_bench.claims import ClaimData, ClaimRow, Outcomes, Setting, SystemSpec, row
from edge_report.finding import mean, spread
from export import zoo
from export.report.cost import cost
from export.training.assemble import assemble
from export.training.placement import sample_shape
from export.transforms.heads import find
from export.transforms.split import split

DEVICES, ROUNDS, STEPS = 8, 40, 25
FEATURES = 32


def settings(data: ClaimData) -> dict[str, Setting]:
    """Emulate eight devices; 32 features at the edge, 128 and 128 units on the server, which makes 5 epochs a round."""
    base: dict[str, Any] = {
        **data.scenario,
        "devices": DEVICES,
        "model": f"zoo:mlp:{FEATURES}-128-128",
        "split_at": "Relu_5",
        "rounds": ROUNDS,
        "evaluate_every": ROUNDS,
    }
    local = {"local_steps": STEPS, "learning_rate": 0.1}

    def ours(division: str, **more: Any) -> Setting:
        chosen = {**local, "server_epochs": 5, **more}
        return Setting({**base, "split": division, "protocol": "fedgkt", "settings": {"fedgkt": chosen}})

    def other(division: str, name: str) -> Setting:
        return Setting({**base, "split": division, "protocol": name, "settings": {name: local}})

    by_name: dict[str, Setting] = {}
    for title, division in (("IID", "iid"), ("Dirichlet 0.5", "dirichlet:0.5")):
        by_name |= {
            f"{title}, fedgkt": ours(division),
            f"{title}, fedgkt asynchronous": ours(division, asynchronous=True),
            f"{title}, fedgkt without distillation": ours(division, to_device=False, to_server=False),
            f"{title}, fedgkt server to edge only": ours(division, to_server=False),
            f"{title}, fedgkt one device a batch": ours(division, interleave=False),
            f"{title}, fedgkt, frozen extractor": ours(division, learning_rate=1e-12),
            f"{title}, fedavg": other(division, "fedavg"),
            f"{title}, isolated": other(division, "isolated"),
        }
        if small_image(data):  # of larger ones the features alone would take a quarter of an hour
            stem = {"model": "zoo:small-cnn", "split_at": "MaxPool_5"}
            by_name |= {
                f"{title}, {what}, conv stem": replace(setting, scenario={**setting.scenario, **stem})
                for what, setting in (
                    ("fedgkt", ours(division)),
                    ("fedgkt, frozen extractor", ours(division, learning_rate=1e-12)),
                    ("fedavg", other(division, "fedavg")),
                )
            }
    return by_name


def small_image(data: ClaimData) -> bool:
    """Say whether a convolution and a pooling layer can be the extractor, in little time."""
    return len(data.shape) == 3 and max(data.shape[1:]) <= 16


def published() -> dict[str, dict[str, int]]:
    """Count parameters and multiply-accumulates of one image forward, of the published architectures (CIFAR-10)."""
    counts = {}
    for name in ("gkt-edge", "resnet56", "resnet110"):
        model = zoo.build(name, shape=(3, 32, 32), classes=10)
        macs = cost(assemble(model).predict, {"N": 1}).macs["forward"]
        counts[name] = {"parameters": _trained(model), "macs": macs}
    return counts


def _trained(model: Any) -> int:
    return sum(v.size for k, v in model.parameters.items() if k not in model.statistics)


def judge(outcomes: Outcomes) -> list[ClaimRow]:
    """Check G1 to G5."""
    counts = published()
    edge = counts["gkt-edge"]
    macs = [counts[n]["macs"] / edge["macs"] for n in ("resnet56", "resnet110")]
    sizes = [counts[n]["parameters"] / edge["parameters"] for n in ("resnet56", "resnet110")]
    K = outcomes.data.classes
    whole = zoo.build(f"mlp:{FEATURES}-128-128", shape=(64,), classes=K)
    at = next(n.output[0] for n in whole.nodes if n.op_type == "Relu")
    device, server = split(whole, at)
    ours = [cost(assemble(m).predict, {"N": 1}).macs["forward"] for m in (device, server)]
    rows = [
        row(
            "G1",
            "ResNet-56 and -110 over the edge model: 9.07 and 17.41 times the MACs, 55.9 and 108.4 the parameters",
            "9 to 17, 54 to 105",
            f"MACs {macs[0]:.2f}, {macs[1]:.2f}; parameters {sizes[0]:.1f}, {sizes[1]:.1f}",
            [round(m, 2) for m in macs] == [9.07, 17.41] and [round(s, 1) for s in sizes] == [55.9, 108.4],
            macs=macs,
            parameters=sizes,
        ),
        row(
            "G2",
            "the meters on our own split: MACs forward are the products' sizes",
            "-",
            f"edge {ours[0]:,} and server {ours[1]:,} MACs; {_trained(device):,} and {_trained(server):,} parameters",
            ours == [64 * FEATURES + FEATURES * K, FEATURES * 128 + 128 * 128 + 128 * K],
            macs=[float(m) for m in ours],
        ),
    ]
    for title in ("IID", "Dirichlet 0.5"):
        gkt, fedavg = outcomes.accuracy(f"{title}, fedgkt"), outcomes.accuracy(f"{title}, fedavg")
        both, without = gkt, outcomes.accuracy(f"{title}, fedgkt without distillation")
        one_way = outcomes.accuracy(f"{title}, fedgkt server to edge only")
        rows.append(
            row(
                f"G3 ({title})",
                "accuracy within 1 point of FedAvg",
                "92.97 against 92.88 (CIFAR-10)" if title == "IID" else "86.59 against 86.60 (CIFAR-10)",
                f"{spread(gkt)} against {spread(fedavg)}; asynchronous "
                f"{spread(outcomes.accuracy(f'{title}, fedgkt asynchronous'))}, one device a batch "
                f"{spread(outcomes.accuracy(f'{title}, fedgkt one device a batch'))}, frozen common extractor "
                f"{spread(outcomes.accuracy(f'{title}, fedgkt, frozen extractor'))}",
                mean(gkt) >= mean(fedavg) - 0.01,
                fedgkt=gkt,
                fedavg=fedavg,
            )
        )
        if small_image(outcomes.data):
            names = ("fedgkt", "fedgkt, frozen extractor", "fedavg")
            gkt, frozen, fedavg = (outcomes.accuracy(f"{title}, {name}, conv stem") for name in names)
            rows.append(
                row(
                    f"G3 ({title}, conv)",
                    "the same with a convolution as the extractor",
                    "-",
                    f"{spread(gkt)} against {spread(fedavg)}; frozen common extractor {spread(frozen)}",
                    mean(gkt) >= mean(fedavg) - 0.01,
                    fedgkt=gkt,
                    fedavg=fedavg,
                    frozen=frozen,
                )
            )
        rows.append(
            row(
                f"G4 ({title})",
                "distillation both ways is better than none",
                "yes",
                f"{spread(both)} against {spread(without)} without, {spread(one_way)} server to edge only",
                mean(both) > mean(without),
                both=both,
                none=without,
                server_to_edge=one_way,
            )
        )
    resnet = zoo.build("resnet56", shape=(3, 32, 32), classes=10)
    exact, per_sample = True, 4 * FEATURES + 4 * K + 1 + 4 * K
    results = outcomes.results("IID, fedgkt")
    for result in results:
        samples = sum(d.samples for d in result.devices)
        messages = sum(d.messages_sent for d in result.devices) + (result.centre.messages_sent if result.centre else 0)
        exact &= result.payload_bytes_total == ROUNDS * samples * per_sample + HEADER * messages
    features = 4 * prod(sample_shape(resnet, find(resnet, "stem", "the stem")))
    cifar = 50_000 * (features + 4 * 10 + 1 + 4 * 10) / (16 * 2 * 4 * counts["resnet56"]["parameters"])
    share = outcomes.payload("IID, fedgkt") / outcomes.payload("IID, fedavg")
    rows.append(
        row(
            "G5",
            "payload is n (4 |H| + 4 K + 1) up and 4 n K down, exactly; shown next to FedAvg's",
            "less than split learning; FedAvg is not compared",
            f"{share:.2f} times FedAvg's here, with {FEATURES} features and {samples // DEVICES} samples a device; "
            f"{cifar:.1f} times with 50,000 CIFAR images, 16 devices and ResNet-56",
            exact,
            ratio=share,
            ratio_cifar=cifar,
        )
    )
    return rows


SPEC = SystemSpec(title="He et al. 2020, FedGKT", settings=settings, judge=judge)
