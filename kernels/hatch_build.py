"""Compiles the library of the wheel that is being built; `MURMUR_TARGET` names another machine (`build.TARGETS`)."""

import importlib.util
import os
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TARGET = "MURMUR_TARGET"


class Compile(BuildHookInterface):  # type: ignore[type-arg]  # its configuration is hatchling's
    """See `BuildHookInterface`."""

    def dependencies(self) -> list[str]:
        """The compiler for another machine; for this one it is what is installed."""
        return ["ziglang==0.17.1"] if TARGET in os.environ else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, pack this one library, and name the platform."""
        del version
        description = importlib.util.spec_from_file_location("build_kernels", Path(self.root) / "build.py")
        assert description is not None
        assert description.loader is not None
        build = importlib.util.module_from_spec(description)
        description.loader.exec_module(build)
        target = os.environ.get(TARGET)
        library = build.build(target)
        platform = build.PLATFORMS[target] if target else sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
        build_data["force_include"] = {str(library): f"murmur_kernels/{library.name}"}
