"""Models as PyTorch's two exporters write them, and how PyTorch itself trains them.

Classifiers of torchvision and timm, and the models of `torch_architectures.py`.

pip install torch torchvision timm transformers onnx onnxscript     # in an environment of its own, about 1 GB
python torch_classifiers.py FOLDER [NAME ...]

Writes NAME.dynamo.onnx, NAME.script.onnx (no argument but the example, of two samples) and NAME.npz: the batches of ten
steps of SGD and their losses, in single and in double precision. Both exporters fold a batch normalization into the
convolution before it, so PyTorch trains the folded network, too, in eval mode. What cannot be traced for folding is a
line in NAME.txt. The newer exporter leaves out biases that are all zero, as those of a fresh network are; so they are
drawn at random.
"""

import copy
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from torch.fx.experimental.optimization import fuse
from torch_architectures import ARCHITECTURES, CLASSES, TOKENS, Architecture

STEPS, RATE, ROWS = 10, 1e-3, 2
TORCHVISION = {
    "alexnet": 224,  # at 64 its adaptive pooling is none that the older exporter knows
    "resnet18": 64,
    "resnext50_32x4d": 64,
    "densenet121": 64,
    "densenet121-silu": 64,
    "googlenet": 64,
    "squeezenet1_1": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "efficientnet_b0": 64,
    "shufflenet_v2_x0_5": 64,
    "mnasnet0_5": 64,
    "regnet_y_400mf": 64,
    "convnext_tiny": 64,
    "swin_t": 64,
}
TIMM = {
    "vit_tiny_patch16_224": 64,
    "mixer_s32_224": 64,
    "resmlp_12_224": 64,
    "poolformer_s12": 64,
    "ghostnet_100": 64,
    "convmixer_768_32": 64,
}
SETTLED = 1e-5
"""How far PyTorch in single precision may be from itself in double: rates are lowered until it is that close."""
SMOOTH = "-silu"
"""ends the name of a model whose ReLUs are replaced by SiLU, which has no kink"""
SIZED = ("vit", "mixer", "resmlp")
"""models whose image size is an argument"""
MORE: dict[str, dict[str, Any]] = {"googlenet": {"aux_logits": False, "init_weights": True}}


def classifier(name: str) -> Architecture:
    """A classifier of torchvision or timm."""
    size = TORCHVISION.get(name) or TIMM[name]
    sized = {"img_size": size} if name.startswith(SIZED) else {}

    def build() -> Any:
        if name in TORCHVISION:
            more = {"weights": None, "num_classes": CLASSES} | MORE.get(name, {})
            model = torchvision.models.get_model(name.removesuffix(SMOOTH), **more)
            return smooth(model) if name.endswith(SMOOTH) else model
        return timm.create_model(name, pretrained=False, num_classes=CLASSES, **sized)

    return Architecture(build, (3, size, size), (), rate=RATE)


def smooth(model: Any) -> Any:
    """The model with SiLU in place of every ReLU."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.ReLU):
                setattr(module, name, torch.nn.SiLU())
    traced = torch.fx.symbolic_trace(model)
    for node in traced.graph.nodes:
        if node.target is torch.nn.functional.relu:
            node.target = torch.nn.functional.silu
    traced.recompile()
    return traced


def build(architecture: Architecture) -> Any:
    """The model with random weights, in eval mode."""
    torch.manual_seed(0)
    model = architecture.build()
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.01)
    return model.eval()


def batches(architecture: Architecture) -> tuple[Any, Any]:
    """(samples, labels) of every step."""
    random, rows = np.random.default_rng(0), (STEPS, ROWS)
    if architecture.objective == "mean_squared_error":
        x = random.random((*rows, *architecture.sample), np.float32)
        return x, x
    if architecture.tokens:  # without 0, the padding of a BERT: PyTorch alone knows that its row is not trained
        x = random.integers(1, TOKENS, (*rows, *architecture.sample))
    else:
        x = random.standard_normal((*rows, *architecture.sample)).astype(np.float32)
    return x, random.integers(0, CLASSES, (*rows, *architecture.labels))


def main() -> None:
    """Write every model that was named, or all."""
    folder, names = Path(sys.argv[1]), sys.argv[2:] or [*TORCHVISION, *TIMM, *ARCHITECTURES]
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        architecture = ARCHITECTURES.get(name) or classifier(name)
        model, (x, y) = build(architecture), batches(architecture)
        remarks = []
        for exporter, more in (("dynamo", {}), ("script", {"dynamo": False})):
            path = folder / f"{name}.{exporter}.onnx"
            path.unlink(missing_ok=True)
            try:
                torch.onnx.export(model, (torch.from_numpy(x[0]),), str(path), **more)
            except Exception as reason:  # whatever an exporter raises: it is PyTorch's to say
                remarks.append(f"{exporter}: {str(reason).splitlines()[0]}")
        if any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in model.modules()):
            try:
                model = fuse(model)
            except Exception as reason:  # whatever tracing raises
                remarks.append(f"not folded: {str(reason).splitlines()[0]}")
        rate, losses, exact = settle(model, x, y, architecture)
        oracle = {"rate": rate, "losses": losses, "exact": exact, "objective": architecture.objective}
        np.savez(folder / f"{name}.npz", x=x, y=y, **oracle)
        (folder / f"{name}.txt").write_text("\n".join(remarks))
        print(name, *remarks, sep="; ", flush=True)


def settle(model: Any, x: Any, y: Any, architecture: Architecture) -> tuple[float, list[float], list[float]]:
    """(rate, losses in single precision, losses in double): the highest rate at which PyTorch agrees with itself.

    Where a step carries activations across kinks of ReLU, rounding decides on which side, and grows with each step.
    """
    rate = architecture.rate
    while True:
        single, double = (train(model, x, y, architecture, rate, dtype) for dtype in (torch.float32, torch.float64))
        if np.abs(np.subtract(single, double)).max() <= SETTLED:
            return rate, single, double
        rate /= 10


def train(model: Any, x: Any, y: Any, architecture: Architecture, rate: float, dtype: torch.dtype) -> list[float]:
    """The loss before each step, of a copy of the model."""
    model = copy.deepcopy(model).to(dtype).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    losses = []
    for samples, labels in zip(map(torch.from_numpy, x), map(torch.from_numpy, y), strict=True):
        optimizer.zero_grad()
        outputs = model(samples if architecture.tokens else samples.to(dtype))
        outputs = getattr(outputs, "logits", outputs)
        if architecture.objective == "mean_squared_error":
            loss = torch.nn.functional.mse_loss(outputs, labels.to(dtype))
        else:
            logits = outputs.transpose(1, 2) if outputs.dim() == 3 else outputs  # classes before positions
            loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    main()
