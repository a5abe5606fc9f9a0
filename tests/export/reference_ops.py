"""Operators that onnx's reference evaluator gets wrong, in plain NumPy and any float type."""

import math
from itertools import product
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun


class ConvTranspose(OpRun):
    """The definition, written out: every element of X adds its filter to Y (onnx 1.23 fails on groups)."""

    def _run(self, X: Any, W: Any, B: Any = None, **attributes: Any) -> tuple[Any]:
        n = X.ndim - 2

        def of(name: str, default: list[int]) -> list[int]:
            return list(attributes.get(name) or default)

        g, kernel = attributes.get("group") or 1, W.shape[2:]
        stride, dilation = of("strides", [1] * n), of("dilations", [1] * n)
        pads, extra = of("pads", [0] * 2 * n), of("output_padding", [0] * n)
        M = W.shape[1] * g
        full = [
            (o - 1) * s + (k - 1) * d + 1 + e
            for o, s, k, d, e in zip(X.shape[2:], stride, kernel, dilation, extra, strict=True)
        ]
        Y = np.zeros((X.shape[0], M, *full), X.dtype)
        Xg = X.reshape(X.shape[0], g, -1, *X.shape[2:])
        Wg = W.reshape(g, -1, *W.shape[1:])
        for cell in product(*map(range, kernel)):
            part = np.einsum("bgc...,gcm->bgm...", Xg, Wg[(..., *cell)]).reshape(X.shape[0], M, *X.shape[2:])
            at = tuple(
                slice(c * d, c * d + (o - 1) * s + 1, s)
                for c, d, o, s in zip(cell, dilation, X.shape[2:], stride, strict=True)
            )
            Y[(slice(None), slice(None), *at)] += part
        crop = tuple(slice(pads[i], full[i] - pads[n + i]) for i in range(n))
        Y = Y[(slice(None), slice(None), *crop)]
        return (Y if B is None else Y + B.reshape(-1, *[1] * n),)


class MaxPool(OpRun):
    """The definition, written out (onnx 1.23 reads past the end of padded rows)."""

    def _run(self, X: Any, **attributes: Any) -> tuple[Any]:
        n = X.ndim - 2
        kernel = attributes["kernel_shape"]
        stride, dilation = attributes.get("strides") or [1] * n, attributes.get("dilations") or [1] * n
        pads = attributes.get("pads") or [0] * 2 * n
        width = [(0, 0), (0, 0), *((pads[i], pads[n + i]) for i in range(n))]
        P = np.pad(X, width, constant_values=-np.inf)
        O = [(p - (k - 1) * d - 1) // s + 1 for p, k, d, s in zip(P.shape[2:], kernel, dilation, stride, strict=True)]
        Y = np.full((*X.shape[:2], *O), -np.inf, X.dtype)
        for cell in product(*map(range, kernel)):
            at = tuple(
                slice(c * d, c * d + (o - 1) * s + 1, s) for c, d, o, s in zip(cell, dilation, O, stride, strict=True)
            )
            Y = np.maximum(Y, P[(slice(None), slice(None), *at)])
        return (Y,)


class Erf(OpRun):
    """In double precision (onnx 1.23 computes it in single)."""

    def _run(self, X: Any) -> tuple[Any]:
        return (np.vectorize(math.erf, otypes=[X.dtype])(X),)


class Gelu(OpRun):
    """In double precision, likewise."""

    def _run(self, X: Any, approximate: str | None = None) -> tuple[Any]:
        if approximate == "tanh":
            inner = np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3))
        else:
            inner = np.vectorize(math.erf, otypes=[X.dtype])(X / math.sqrt(2))
        return (0.5 * X * (1 + inner),)


class Pad(OpRun):
    """A constant border, which may be negative (onnx 1.23 refuses that)."""

    def _run(self, X: Any, pads: Any, value: Any = None, axes: Any = None, mode: str | None = None) -> tuple[Any]:
        axes = range(X.ndim) if axes is None else axes
        ends = np.zeros((X.ndim, 2), int)
        for at, axis in enumerate(axes):
            ends[axis] = pads[at], pads[len(axes) + at]
        keep = tuple(slice(max(0, -b), X.shape[i] - max(0, -e)) for i, (b, e) in enumerate(ends))
        return (np.pad(X[keep], np.maximum(ends, 0), constant_values=0 if value is None else value),)


class GlobalMaxPool(OpRun):
    """Over all axes of the image (onnx 1.23 forgets all but two)."""

    def _run(self, X: Any) -> tuple[Any]:
        return (X.max(axis=tuple(range(2, X.ndim)), keepdims=True),)


class GroupNormalization(OpRun):
    """In double precision (the operator's own definition goes through single)."""

    def _run(
        self, X: Any, scale: Any, bias: Any, epsilon: float = 1e-5, num_groups: int = 1, stash_type: int = 1
    ) -> tuple[Any]:
        apart = X.reshape(X.shape[0], num_groups, -1)
        apart = (apart - apart.mean(axis=2, keepdims=True)) / np.sqrt(apart.var(axis=2, keepdims=True) + epsilon)
        channel = (-1, *[1] * (X.ndim - 2))
        return (apart.reshape(X.shape) * scale.reshape(channel) + bias.reshape(channel),)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _directions(kind: str) -> list[bool]:
    return {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[kind]


class GRU(OpRun):
    """The definition, step by step (onnx 1.23 knows one direction only)."""

    def _run(self, X: Any, W: Any, R: Any, B: Any = None, lens: Any = None, h0: Any = None, **attributes: Any) -> Any:
        T, H, late = len(X), R.shape[-1], attributes.get("linear_before_reset") or 0
        D = len(W)
        Y = np.zeros((T, D, X.shape[1], H), X.dtype)
        for d, backwards in enumerate(_directions(attributes.get("direction") or "forward")):
            h = np.zeros_like(Y[0, 0]) if h0 is None else h0[d]
            b = np.zeros(6 * H) if B is None else B[d]
            (wz, wr, wh), (rz, rr, rh) = np.split(W[d], 3), np.split(R[d], 3)
            bz, br, bh, cz, cr, ch = np.split(b, 6)
            for t in reversed(range(T)) if backwards else range(T):
                z = _sigmoid(X[t] @ wz.T + h @ rz.T + bz + cz)
                r = _sigmoid(X[t] @ wr.T + h @ rr.T + br + cr)
                inner = r * (h @ rh.T + ch) if late else (r * h) @ rh.T + ch
                h = (1 - z) * np.tanh(X[t] @ wh.T + inner + bh) + z * h
                Y[t, d] = h
        last = [Y[0 if back else -1, d] for d, back in enumerate(_directions(attributes.get("direction") or "forward"))]
        return Y, np.stack(last)


class LSTM(OpRun):
    """The definition, step by step (onnx 1.23 knows one direction only)."""

    def _run(
        self, X: Any, W: Any, R: Any, B: Any = None, lens: Any = None, h0: Any = None, c0: Any = None, **attributes: Any
    ) -> Any:
        T, H, D = len(X), R.shape[-1], len(W)
        Y = np.zeros((T, D, X.shape[1], H), X.dtype)
        ends = []
        for d, backwards in enumerate(_directions(attributes.get("direction") or "forward")):
            h = np.zeros_like(Y[0, 0]) if h0 is None else h0[d]
            c = np.zeros_like(Y[0, 0]) if c0 is None else c0[d]
            b = np.zeros(4 * H) if B is None else B[d].reshape(2, -1).sum(axis=0)
            for t in reversed(range(T)) if backwards else range(T):
                i, o, f, g = np.split(X[t] @ W[d].T + h @ R[d].T + b, 4, axis=-1)
                c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
                h = _sigmoid(o) * np.tanh(c)
                Y[t, d] = h
            ends.append((h, c))
        return Y, np.stack([h for h, _ in ends]), np.stack([c for _, c in ends])


class GatherElements(OpRun):
    """The definition (onnx 1.23 wants indices as long as X along the other axes)."""

    def _run(self, X: Any, indices: Any, axis: int = 0) -> tuple[Any]:
        cells = list(np.indices(indices.shape))
        cells[axis] = indices
        return (X[tuple(cells)],)


class LpNormalization(OpRun):
    """The definition (onnx 1.23 forgets the absolute value of p = 1)."""

    def _run(self, X: Any, axis: int = -1, p: int = 2) -> tuple[Any]:
        return (X / np.linalg.norm(X, ord=p, axis=axis, keepdims=True),)


class RNN(OpRun):
    """The definition, step by step (onnx 1.23 knows one direction only)."""

    def _run(self, X: Any, W: Any, R: Any, B: Any = None, lens: Any = None, h0: Any = None, **attributes: Any) -> Any:
        directions = _directions(attributes.get("direction") or "forward")
        Y = np.zeros((len(X), len(W), X.shape[1], R.shape[-1]), X.dtype)
        for d, backwards in enumerate(directions):
            h = np.zeros_like(Y[0, 0]) if h0 is None else h0[d]
            b = 0 if B is None else B[d].reshape(2, -1).sum(axis=0)
            for t in reversed(range(len(X))) if backwards else range(len(X)):
                h = Y[t, d] = np.tanh(X[t] @ W[d].T + h @ R[d].T + b)
        return Y, np.stack([Y[0 if backwards else -1, d] for d, backwards in enumerate(directions)])


class LRN(OpRun):
    """The definition, for any rank (onnx 1.23 takes images only, and sums over the first channels only)."""

    def _run(
        self, X: Any, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int | None = None
    ) -> tuple[Any]:
        assert size is not None
        squares, total = X**2, np.zeros_like(X)
        for c in range(X.shape[1]):
            first, last = max(0, c - (size - 1) // 2), c + size // 2
            total[:, c] = squares[:, first : last + 1].sum(axis=1)
        return (X / (bias + alpha / size * total) ** beta,)


class GridSample(OpRun):
    """The definition, point by point (onnx 1.23 computes coordinates in single precision)."""

    def _run(
        self, X: Any, grid: Any, mode: str = "linear", padding_mode: str = "zeros", align_corners: int = 0
    ) -> tuple[Any]:
        S = X.shape[2:]
        Y = np.zeros((*X.shape[:2], *grid.shape[1:-1]), X.dtype)
        for n, *at in np.ndindex(len(X), *grid.shape[1:-1]):
            axes = []
            for u, size in zip(grid[(n, *at)][::-1], S, strict=True):
                x = (u + 1) / 2 * (size - 1) if align_corners else ((u + 1) * size - 1) / 2
                x = np.rint(x) if mode == "nearest" else x
                if padding_mode == "border":
                    x = min(max(x, 0), size - 1)
                while padding_mode == "reflection" and not (0 <= x <= size - 1):
                    first, last = (0, size - 1) if align_corners else (-0.5, size - 0.5)
                    if first <= x <= last:
                        x = min(max(x, 0), size - 1)
                    else:
                        x = 2 * (first if x < first else last) - x
                low = math.floor(x)
                axes.append([(low, 1 - (x - low)), (low + 1, x - low)])
            for cells in product(*axes):
                if all(0 <= i < size for (i, _), size in zip(cells, S, strict=True)):
                    weight = math.prod(w for _, w in cells)
                    Y[(n, slice(None), *at)] += weight * X[(n, slice(None), *(i for i, _ in cells))]
        return (Y,)


CORRECTED = [ConvTranspose, MaxPool, Pad, GlobalMaxPool, GroupNormalization, Erf, Gelu, GRU, LSTM, RNN, LRN]
CORRECTED += [LpNormalization, GatherElements, GridSample]
