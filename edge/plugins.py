"""A thing is added by adding a file: the file's name is the name in the configuration."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from edge.errors import ConfigError

_registered: dict[tuple[str, str], Any] = {}


def register(package: str, name: str, module: Any) -> None:
    """Add a thing without a file, for this process: a notebook's own protocol, data set or model.

    module: whatever has what a module of `package` has. Again under the same name, it takes the place of the first.
    """
    _registered[package, name.replace("_", "-")] = module
    load.cache_clear()


def unregister(package: str, name: str) -> None:
    """Take back what was registered under that name, if anything was."""
    _registered.pop((package, name.replace("_", "-")), None)
    load.cache_clear()


def names(package: str) -> list[str]:
    """What can be loaded from `package`, e.g. ["d-distillation", "d-psgd", "isolated"]."""
    found = iter_modules(import_module(package).__path__)
    own = {name for of, name in _registered if of == package}
    return sorted(own | {m.name.replace("_", "-") for m in found if not m.name.startswith("_")})


@cache
def load(package: str, name: str, noun: str = "") -> ModuleType:
    """Import the module of `package` that is called `name`, e.g. ("edge.protocols", "d-psgd").

    Imported only now, so that a device never loads an engine or a transport it does not use; looked up once, as every
    message asks for its coding. noun: what it is called where there is none of that name; the package's if absent.
    """
    known = names(package)
    wanted = name.replace("_", "-")
    if wanted not in known:
        noun = noun or package.rsplit(".", 1)[-1].removesuffix("s")
        raise ConfigError(f"unknown {noun} '{name}'; there are: {', '.join(known)}")
    if (package, wanted) in _registered:
        own: ModuleType = _registered[package, wanted]
        return own
    return import_module(f"{package}.{wanted.replace('-', '_')}")
