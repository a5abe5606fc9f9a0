"""The compiled kernels, built once for the tests and made importable."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from edge.engines import _kernels, _session

ROOT = Path(__file__).parents[2] / "kernels"


@pytest.fixture(scope="package")
def kernels() -> Iterator[ModuleType]:
    """The package, used by every session that opens meanwhile."""
    description = importlib.util.spec_from_file_location("build_kernels", ROOT / "build.py")
    assert description is not None
    assert description.loader is not None
    build = importlib.util.module_from_spec(description)
    description.loader.exec_module(build)
    build.build()
    sys.path.insert(0, str(ROOT))
    switch = os.environ.pop(_kernels.SWITCH, None)
    _fresh()
    yield importlib.import_module("murmur_kernels")
    sys.path.remove(str(ROOT))
    for name in [n for n in sys.modules if n.startswith("murmur_kernels")]:
        del sys.modules[name]
    if switch is not None:
        os.environ[_kernels.SWITCH] = switch
    _fresh()


def _fresh() -> None:
    _kernels.library.cache_clear()
    _session._session.cache_clear()
