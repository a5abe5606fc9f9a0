"""Sessions of ONNX Runtime, as the two engines over it open them."""

import os
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import onnxruntime as ort  # noqa: TID251 - shared by this runtime's engines

from edge.bundle import Bundle
from edge.engines import _kernels
from edge.errors import BundleError


@dataclass(frozen=True)
class Options:
    """How a session runs; `edge-node tune` finds out what suits a device.

    threads: of one operator. spinning: idle threads wait busily: made small batches three times slower with two
    threads, and steals the core from others. arena, pattern: keep freed memory, and preallocate one slab a shape: peak
    84 MB with both, 74 without the pattern, 97 to 103 without the arena (small CNN, batch 32).
    kernels: use the compiled operators where they are installed (`_kernels`); they run on one thread, and with more the
    runtime's own operators are used.
    """

    threads: int = 1
    spinning: bool = False
    arena: bool = True
    pattern: bool = False
    kernels: bool = True


def session(bundle: Bundle, file: str, options: Options, cache: Path | None = None) -> ort.InferenceSession:
    """One of a bundle's graphs, ready to run; the same one for the same options.

    cache: folder for the graph as the runtime optimised it. Opening that takes 0.4 of the time: 9 to 4 ms for the
    small CNN, 514 to 205 for MobileNetV2.
    """
    # The digest is part of the key: a bundle may be replaced under the same path.
    return _session(bundle.path / file, bundle.manifest.digests[file], options, cache)


@lru_cache(maxsize=64)
def _session(path: Path, digest: str, options: Options, cache: Path | None) -> ort.InferenceSession:
    library = _kernels.library() if options.kernels and options.threads == 1 else None
    if cache is None:
        return _opened(path, settings(options), library)
    version = f"{ort.__version__}-kernels{_kernels.VERSION}" if library else ort.__version__
    ready = cache / f"{path.stem}-{digest[:16]}-{version}.onnx"
    if ready.is_file():
        chosen = settings(options)
        chosen.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return _opened(ready, chosen, library, rewrite=False)
        except BundleError:  # cut short by a power failure, or of another machine: made again
            ready.unlink(missing_ok=True)
    chosen, aside = settings(options), ready.with_suffix(f".{os.getpid()}.part")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.glob(f"{path.stem}-*"):
            old.unlink(missing_ok=True)
        chosen.optimized_model_filepath = str(aside)
        opened = _opened(path, chosen, library)
        aside.replace(ready)
    except (OSError, BundleError):  # a full or read-only disk is no reason not to train
        return _opened(path, settings(options), library)
    return opened


def settings(options: Options) -> ort.SessionOptions:
    """The same in the runtime's own words."""
    chosen = ort.SessionOptions()
    chosen.intra_op_num_threads = options.threads
    chosen.inter_op_num_threads = 1
    chosen.log_severity_level = 3
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spinning else "0")
    chosen.enable_mem_pattern = options.pattern
    chosen.enable_cpu_mem_arena = options.arena
    if options.arena:
        _one_arena()
        chosen.add_session_config_entry("session.use_env_allocators", "1")
    return chosen


@cache
def _one_arena() -> None:
    """For all sessions of the process: the small CNN trains and predicts in 90.6 MB instead of 96.3."""
    info = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(info, ort.OrtArenaCfg(0, -1, -1, -1))


def _opened(
    path: Path, chosen: ort.SessionOptions, library: Path | None, *, rewrite: bool = True
) -> ort.InferenceSession:
    try:
        model: str | bytes = str(path)
        if library is not None:
            chosen.register_custom_ops_library(str(library))
            model = _kernels.rewritten(path.read_bytes()) if rewrite else model
        return ort.InferenceSession(model, chosen, providers=["CPUExecutionProvider"])
    except Exception as reason:  # onnxruntime's exceptions have no public base class
        brief = str(reason).splitlines()[0]
        raise BundleError(f"onnxruntime {ort.__version__} cannot load {path}: {brief}") from None
