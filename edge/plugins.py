"""A thing is added by adding a file: the file's name is the name in the configuration.

A family is a package whose files each have a `SPEC` of one type (`edge.specs`). Plug-ins from elsewhere join it by an
entry point of its group, from a file that a command is given (`--plugin FILE.py`), or from Python (`Family.register`).
Packages whose files have no SPEC are read as modules with `names` and `load`.
"""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from edge.errors import ConfigError, MurmurError

S = TypeVar("S")
FILES = "MURMUR_PLUGINS"
"""the environment variable that names plug-in files, separated as PATH is; processes that are started inherit it"""
_registered: dict[tuple[str, str], Any] = {}
_families: list["Family[Any]"] = []


@dataclass(frozen=True)
class Family(Generic[S]):
    """The plug-ins of one package.

    package: where its own are. spec: the type of each `SPEC`. noun: what one is called. group: of entry points; none if
    it takes no plug-ins from elsewhere.
    """

    package: str
    spec: type[S]
    noun: str
    group: str = ""

    def __post_init__(self) -> None:
        _families.append(self)

    def names(self) -> list[str]:
        """What can be loaded, e.g. ["d-distillation", "d-psgd", "isolated"]. Raises ConfigError: two of one name."""
        return sorted(_sources(self))

    def load(self, name: str) -> S:
        """The plug-in of that name, imported only now: a device loads no engine that it does not use.

        Raises:
            ConfigError: there is none; it cannot be imported; or its SPEC is missing, or not what the family's are.
        """
        if _named(name) not in _sources(self):
            raise ConfigError(f"unknown {self.noun} '{name}'; there are: {', '.join(self.names())}")
        spec: S = _loaded(self, _named(name))
        return spec

    def all(self) -> dict[str, S]:
        """Every plug-in, by name. Raises ConfigError: one that cannot be loaded."""
        return {name: self.load(name) for name in self.names()}

    def register(self, name: str, spec: S) -> None:
        """Add a plug-in without a file, for this process. Again under the same name, it takes the first one's place."""
        register(self.package, name, spec)

    def unregister(self, name: str) -> None:
        """Take back what was registered under that name, if anything was."""
        unregister(self.package, name)


def register(package: str, name: str, thing: Any) -> None:
    """Add a thing without a file, for this process: a notebook's own protocol, data set or model.

    thing: a SPEC, or for a package of modules whatever has what a module of it has. Again under the same name, it takes
    the place of the first.
    """
    _registered[package, _named(name)] = thing
    forget()


def unregister(package: str, name: str) -> None:
    """Take back what was registered under that name, if anything was."""
    _registered.pop((package, _named(name)), None)
    forget()


def add_file(path: str | Path) -> None:
    """Make the plug-in in a file known to this process, and to those it starts.

    The name of the file is the plug-in's; the type of its SPEC says to which family it belongs.

    Raises:
        ConfigError: it is not there, cannot be imported, has no SPEC of a known type, or its name is taken.
    """
    whole = str(Path(path).resolve())
    known = files()
    if whole not in known:
        os.environ[FILES] = os.pathsep.join([*known, whole])
        forget()
    try:
        spec = _of_file(whole)
        if not isinstance(spec, tuple(family.spec for family in _families)):
            expected = ", ".join(sorted({family.spec.__name__ for family in _families}))
            kind = "no SPEC" if spec is None else f"SPEC is {type(spec).__name__}"
            raise ConfigError(f"--plugin {path}: {kind}; expected SPEC = one of {expected}")
        for family in _families:
            family.names()
    except ConfigError:
        os.environ[FILES] = os.pathsep.join(known)
        forget()
        raise


def forget() -> None:
    """Look everything up anew."""
    for lookup in (_sources, _loaded, _of_file, _points, load):
        lookup.cache_clear()
    for reset in _on_change:
        reset()


_on_change: list[Callable[[], object]] = []


def on_change(reset: Callable[[], object]) -> None:
    """Call `reset` whenever a plug-in is added or taken back: for what is derived from them."""
    _on_change.append(reset)


def names(package: str) -> list[str]:
    """What can be loaded from a package, e.g. ["lenet", "mlp", "small-cnn"] of "export.zoo"."""
    if family := _family(package):
        return family.names()
    own = {name for of, name in _registered if of == package}
    return sorted(own | _modules(package))


@cache
def load(package: str, name: str, noun: str = "") -> Any:
    """Import the module of `package` that is called `name`, e.g. ("export.zoo", "small-cnn"); of a family, its SPEC.

    noun: what it is called where there is none of that name; the package's if absent.
    Raises ConfigError: there is none.
    """
    if family := _family(package):
        return family.load(name)
    known, wanted = names(package), _named(name)
    if wanted not in known:
        noun = noun or package.rsplit(".", 1)[-1].removesuffix("s")
        raise ConfigError(f"unknown {noun} '{name}'; there are: {', '.join(known)}")
    if (package, wanted) in _registered:
        return _registered[package, wanted]
    return import_module(f"{package}.{_file(wanted)}")


def _family(package: str) -> "Family[Any] | None":
    import_module(package)  # which says whether it is one
    return next((family for family in _families if family.package == package), None)


def _named(name: str) -> str:
    return name.replace("_", "-")


def _file(name: str) -> str:
    return name.replace("-", "_")


def _modules(package: str) -> set[str]:
    """The public modules of a package, as names in a configuration."""
    modules = iter_modules(import_module(package).__path__)
    return {_named(module.name) for module in modules if not module.name.startswith("_")}


def files() -> list[str]:
    """List the plug-in files that this process knows."""
    return [path for path in os.environ.get(FILES, "").split(os.pathsep) if path]


@cache
def _sources(family: Family[Any]) -> dict[str, Any]:
    """Name -> where the plug-in is: None for a file of the package, an entry point, a path, or the SPEC itself."""
    sources: dict[str, Any] = dict.fromkeys(_modules(family.package))
    for name, source in _from_elsewhere(family):
        if name in sources:
            raise ConfigError(
                f"two plug-ins are called '{name}' ({family.noun}): {_where(family, name, sources[name])} and "
                f"{_where(family, name, source)}; rename or remove one"
            )
        sources[name] = source
    return sources | {name: spec for (package, name), spec in _registered.items() if package == family.package}


def _from_elsewhere(family: Family[Any]) -> Iterator[tuple[str, Any]]:
    if family.group:
        for point in sorted(_points(family.group), key=lambda point: (point.name, point.value)):
            yield _named(point.name), point
    for path in files():
        if isinstance(_of_file(path), family.spec):
            yield _named(Path(path).stem), Path(path)


@cache
def _points(group: str) -> tuple[EntryPoint, ...]:
    """All of a group, of every distribution that is installed; looking takes milliseconds."""
    return tuple(entry_points(group=group))


def _where(family: Family[Any], name: str, source: Any) -> str:
    """For people."""
    if source is None:
        return f"{family.package}.{_file(name)}"
    if isinstance(source, EntryPoint):
        home = f" of {source.dist.name}" if source.dist else ""
        return f"the entry point {source.group}: {source.name} = {source.value}{home}"
    return str(source) if isinstance(source, Path) else "what was registered"


@cache
def _loaded(family: Family[S], name: str) -> S:
    source = _sources(family)[name]
    where = _where(family, name, source)
    if source is None:
        thing = _own(f"{family.package}.{_file(name)}")
    elif isinstance(source, EntryPoint):
        thing = _imported(source.load, where)
    elif isinstance(source, Path):
        thing = _of_file(str(source))
    else:
        thing = source
    return _spec(family.spec, thing, f"{family.noun} '{name}' ({where})")


def _own(module: str) -> ModuleType:
    """A module of the family's package; what its imports raise is for those who know about runtimes and extras."""
    try:
        return import_module(module)
    except ValidationError as reason:
        raise ConfigError(f"{module}: {_explained(reason)}") from None


def _spec(wanted: type[S], thing: Any, where: str) -> S:
    """The SPEC of a module, or the thing itself. Raises ConfigError unless it is of that type."""
    spec = vars(thing).get("SPEC") if isinstance(thing, ModuleType) else thing
    if not isinstance(spec, wanted):
        kind = "nothing" if spec is None else type(spec).__name__
        raise ConfigError(f"{where}: expected SPEC = {wanted.__name__}(...), there is {kind}")
    return spec


@cache
def _of_file(path: str) -> Any:
    """The SPEC in a file, None if there is none. Raises ConfigError: it cannot be imported."""
    if not Path(path).is_file():
        raise ConfigError(f"--plugin {path}: there is no such file")
    stem = f"murmur_plugin_{Path(path).stem}"
    recipe = spec_from_file_location(stem, path)
    if recipe is None or recipe.loader is None:
        raise ConfigError(f"--plugin {path}: not a Python file")
    module = module_from_spec(recipe)
    sys.modules[stem] = module  # dataclasses look their module up
    loader = recipe.loader
    _imported(lambda: loader.exec_module(module), f"--plugin {path}")
    return vars(module).get("SPEC")


def _imported(action: Callable[[], Any], where: str) -> Any:
    """Run what imports somebody else's code. Raises ConfigError, whatever that raises."""
    try:
        return action()
    except MurmurError:
        raise
    except ValidationError as reason:
        raise ConfigError(f"{where}: {_explained(reason)}") from None
    except Exception as reason:  # it is not our code
        line = " ".join(str(reason).split())
        raise ConfigError(f"{where} cannot be imported: {type(reason).__name__}: {line}") from None


def _fields(spec: Any) -> list[str]:
    return [field.name for field in fields(spec)]


def _hint(spec: str, field: str) -> str:
    known = {name for family in _families if family.spec.__name__ == spec for name in _fields(family.spec)}
    near = get_close_matches(field.lower(), known, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; there are: {', '.join(sorted(known))}"


def _explained(reason: ValidationError) -> str:
    """What is wrong with a SPEC, in one line."""
    parts = []
    for error in reason.errors():
        field = ".".join(map(str, error["loc"]))
        if error["type"] == "unexpected_keyword_argument":
            parts.append(f"{reason.title} has no field '{field}'{_hint(reason.title, field)}")
        else:
            parts.append(f"{reason.title}.{field}: {error['msg']}")
    return "; ".join(parts)
