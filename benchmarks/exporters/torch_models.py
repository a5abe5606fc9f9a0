"""Models as PyTorch's two exporters write them. Run by `make sources`, in an environment of its own.

python torch_models.py FOLDER
"""

import sys
from pathlib import Path
from typing import Any

import onnx
import torch

nn = torch.nn


class Lstm(nn.Module):
    """A bidirectional LSTM over a window, its last step classified."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(9, 24, batch_first=True, bidirectional=True)
        self.output = nn.Linear(48, 6)

    def forward(self, x: Any) -> Any:
        """(N, T, 9) -> (N, 6)."""
        return self.output(self.lstm(x)[0][:, -1])


class Gru(nn.Module):
    """A GRU over a window, its last state classified."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(9, 32, batch_first=True)
        self.output = nn.Linear(32, 6)

    def forward(self, x: Any) -> Any:
        """(N, T, 9) -> (N, 6)."""
        return self.output(self.gru(x)[1][0])


class View(nn.Module):
    """A convolution, a normalization, and a view by sizes asked for at run time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.output = nn.Linear(8 * 7 * 7, 10)

    def forward(self, x: Any) -> Any:
        """(N, 1, 14, 14) -> (N, 10)."""
        x = nn.functional.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)
        return self.output(x.view(x.size(0), -1))


class Encoder(nn.Module):
    """A transformer encoder layer over a window."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.output = nn.Linear(9, 32), nn.Linear(32, 6)
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, activation="gelu", batch_first=True)

    def forward(self, x: Any) -> Any:
        """(N, T, 9) -> (N, 6)."""
        return self.output(self.layer(self.embed(x)).mean(1))


class Upsampling(nn.Module):
    """Group normalization, bilinear upsampling, a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.norm, self.act = nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(2, 8), nn.Hardswish()
        self.up, self.grow = nn.Upsample(scale_factor=2, mode="bilinear"), nn.ConvTranspose2d(8, 4, 2, 2)
        self.output = nn.Linear(4, 5)

    def forward(self, x: Any) -> Any:
        """(N, 3, 16, 16) -> (N, 5)."""
        x = self.grow(self.up(self.act(self.norm(self.down(x)))))
        return self.output(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def mobile() -> Any:
    """Depthwise convolution, ReLU6, SiLU, PReLU, average pooling, dropout."""
    stem = [nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6()]
    block = [nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.SiLU(), nn.Conv2d(8, 16, 1), nn.PReLU(), nn.AvgPool2d(2)]
    return nn.Sequential(*stem, *block, nn.Dropout(0.2), nn.Flatten(), nn.Linear(256, 7))


def without_traces(path: str) -> None:
    """Take the exporter's stack traces out: they name folders of the machine it ran on, and nothing reads them."""
    model = onnx.load(path)
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key != "pkg.torch.onnx.stack_trace"]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(model, path)


def main() -> None:
    """Write every model twice: the exporter of today, and the one by tracing."""
    folder = Path(sys.argv[1])
    torch.manual_seed(0)
    windows, images = (2, 20, 9), (2, 3, 16, 16)
    models: dict[str, tuple[Any, tuple[int, ...]]] = {
        "view": (View(), (2, 1, 14, 14)),
        "lstm": (Lstm(), windows),
        "gru": (Gru(), windows),
        "encoder": (Encoder(), windows),
        "upsampling": (Upsampling(), images),
        "mobile": (mobile(), images),
    }
    for name, (model, shape) in models.items():
        model.eval()
        x = torch.randn(*shape)
        batch = ({0: torch.export.Dim("batch")},)
        path = str(folder / f"torch-{name}.onnx")
        torch.onnx.export(model, (x,), path, dynamo=True, dynamic_shapes=batch, verbose=False, external_data=False)
        without_traces(path)
        path = str(folder / f"torch-traced-{name}.onnx")
        axes = {"x": {0: "batch"}}
        torch.onnx.export(model, (x,), path, dynamo=False, input_names=["x"], dynamic_axes=axes, opset_version=17)
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(288, 5)).train()
    torch.onnx.export(
        model,
        (torch.randn(2, 1, 6, 6),),
        str(folder / "torch-traced-training.onnx"),
        dynamo=False,
        training=torch.onnx.TrainingMode.TRAINING,
        do_constant_folding=False,
        input_names=["x"],
        dynamic_axes={"x": {0: "batch"}},
        opset_version=17,
    )


main()
