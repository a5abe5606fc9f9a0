"""Small models that are no classifiers of images, with random weights; `torch_classifiers.py` writes them, too.

Transformers from token numbers, recurrent networks, a class for each pixel or column, images as outputs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel

nn = torch.nn
TOKENS, LENGTH, CLASSES = 50, 12, 10


@dataclass(frozen=True)
class Architecture:
    """A model, and what it is trained on."""

    build: Callable[[], Any]
    sample: tuple[int, ...]
    """the shape of one sample"""
    labels: tuple[int, ...]
    """the shape of a sample's label"""
    objective: str = "cross_entropy"
    tokens: bool = False
    """whether samples are token numbers"""
    rate: float = 0.1


def bert() -> Any:
    """BERT, two layers, a class for the sequence."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return BertForSequenceClassification(BertConfig(vocab_size=TOKENS, num_labels=CLASSES, **sizes))


class Gpt2(nn.Module):
    """GPT-2, two layers: the next token at each position, through the table that the tokens came in by."""

    def __init__(self) -> None:
        super().__init__()
        config = GPT2Config(vocab_size=TOKENS, n_positions=32, n_embd=32, n_layer=2, n_head=2, use_cache=False)
        self.model = GPT2LMHeadModel(config)

    def forward(self, x: Any) -> Any:
        """(N, T) -> (N, T, K). Without a mask of ones it looks for packed texts, as the older exporter cannot."""
        return self.model(x, attention_mask=torch.ones_like(x)).logits


def double(fan_in: int, fan_out: int) -> Any:
    """Two convolutions, each with a normalization: a level of a U-Net."""
    layers = [nn.Conv2d(fan_in, fan_out, 3, padding=1), nn.BatchNorm2d(fan_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(fan_out, fan_out, 3, padding=1), nn.BatchNorm2d(fan_out), nn.ReLU())


class UNet(nn.Module):
    """Two levels down, two up by transposed convolutions, what each level saw beside it (Ronneberger et al. 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([double(3, 8), double(8, 16)])
        self.bottom = double(16, 32)
        self.grow = nn.ModuleList([nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)])
        self.up = nn.ModuleList([double(32, 16), double(16, 8)])
        self.output = nn.Conv2d(8, CLASSES, 1)

    def forward(self, x: Any) -> Any:
        """(N, 3, H, W) -> (N, K, H, W)."""
        levels = []
        for level in self.down:
            x = level(x)
            levels.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottom(x)
        for grow, level in zip(self.grow, self.up, strict=True):
            x = level(torch.cat([levels.pop(), grow(x)], 1))
        return self.output(x)


class Crnn(nn.Module):
    """Convolutions over a line of text, an LSTM both ways over its columns, a class for each (Shi et al. 2015)."""

    def __init__(self) -> None:
        super().__init__()
        stem = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1)]
        self.stem = nn.Sequential(*stem, nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d((2, 1)))
        self.lstm = nn.LSTM(64, 24, num_layers=2, bidirectional=True)
        self.output = nn.Linear(48, CLASSES)

    def forward(self, x: Any) -> Any:
        """(N, 1, 16, W) -> (N, W / 2, K)."""
        columns = self.stem(x).flatten(1, 2).permute(2, 0, 1)
        return self.output(self.lstm(columns)[0]).transpose(0, 1)


class BidirectionalLstm(nn.Module):
    """Token numbers through a table and an LSTM both ways, whose last states are classified."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(TOKENS, 16)
        self.lstm = nn.LSTM(16, 24, batch_first=True, bidirectional=True)
        self.output = nn.Linear(48, CLASSES)

    def forward(self, x: Any) -> Any:
        """(N, T) -> (N, K)."""
        states = self.lstm(self.table(x))[1][0]
        return self.output(torch.cat([states[0], states[1]], 1))


def autoencoder() -> Any:
    """Convolutions down to 8 numbers and back up to the image, whose pixels are between 0 and 1."""
    down = [nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 8)]
    up = [nn.Linear(8, 256), nn.ReLU(), nn.Unflatten(1, (16, 4, 4)), nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU()]
    return nn.Sequential(*down, *up, nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Sigmoid())


ARCHITECTURES = {
    "bert": Architecture(bert, (LENGTH,), (), tokens=True),
    "gpt2": Architecture(Gpt2, (LENGTH,), (LENGTH,), "position_cross_entropy", tokens=True),
    "unet": Architecture(UNet, (3, 16, 16), (16, 16), "position_cross_entropy"),
    "crnn": Architecture(Crnn, (1, 16, 32), (16,), "position_cross_entropy"),
    "lstm": Architecture(BidirectionalLstm, (LENGTH,), (), tokens=True),
    "autoencoder": Architecture(autoencoder, (1, 16, 16), (1, 16, 16), "mean_squared_error"),
}
