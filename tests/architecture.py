"""The structure of the house in figures, and the bounds that it keeps: `python -m tests.architecture [--json]`.

    floors             longest chain of imports between top-level packages
    upward imports     against the order of the `layers` contracts in pyproject.toml, also those of another package
                       that are hidden in a string, as plug-in loaders take them
    circles            groups of files that import one another, counting imports inside functions and TYPE_CHECKING
    ignored imports    exceptions in the import contracts
    private imports    uses of an underscored name of another file, or of an underscored module of another package
    duplicate classes  names that more than one class of the packages has
    participles        variables, parameters and attributes called found, said, told, heard or made; tests count too
    longest file       in lines; tests count too

Exit code 1 if a bound is broken.
"""

import argparse
import ast
import json
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import grimp

from edge.command import guarded

ROOT = Path(__file__).parents[1]
PARTICIPLES = frozenset({"found", "said", "told", "heard", "made"})
BOUNDS = {
    "floors": 5,
    "upward imports": 0,
    "circles": 0,
    "ignored imports": 0,
    "private imports": 0,
    "duplicate classes": 0,
    "participles": 29,
    "longest file": 400,
}
"""The most of each."""


@dataclass(frozen=True)
class Figure:
    """One measure. examples: the places it counts, at most all of them."""

    name: str
    value: int
    examples: tuple[str, ...] = ()

    @property
    def bound(self) -> int:
        return BOUNDS[self.name]

    @property
    def holds(self) -> bool:
        return self.value <= self.bound


@dataclass(frozen=True)
class House:
    """A checkout: its packages as import-linter is told of them, and every Python file in it."""

    root: Path

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The table `tool.importlinter`."""
        table: dict[str, Any] = tomllib.loads((self.root / "pyproject.toml").read_text())["tool"]["importlinter"]
        return table

    @cached_property
    def packages(self) -> list[str]:
        names: list[str] = self.settings["root_packages"]
        return names

    @cached_property
    def files(self) -> dict[str, ast.Module]:
        """Path from the root -> syntax, of the packages and the tests."""
        paths = (path for name in [*self.packages, "tests"] for path in sorted((self.root / name).rglob("*.py")))
        return {str(path.relative_to(self.root)): ast.parse(path.read_text()) for path in paths}

    @cached_property
    def modules(self) -> dict[str, ast.Module]:
        """Module -> syntax, of the packages."""
        return {module_of(path): tree for path, tree in self.files.items() if not path.startswith("tests/")}

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """Module -> the modules of the packages that it imports, anywhere in the file."""
        graph = grimp.build_graph(*self.packages, cache_dir=None)
        return {module: graph.find_modules_directly_imported_by(module) for module in sorted(graph.modules)}


def module_of(path: str) -> str:
    """The dotted name of a file.

    >>> module_of("edge/codec/__init__.py"), module_of("edge/node.py")
    ('edge.codec', 'edge.node')
    """
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def figures(root: Path = ROOT) -> list[Figure]:
    """All measures of a checkout, in the order of `BOUNDS`."""
    house = House(root)
    floors = floors_of(house)
    counted = {
        "upward imports": upward(house),
        "circles": [" - ".join(group) for group in circles(house.imports)],
        "ignored imports": [entry for contract in contracts(house) for entry in contract.get("ignore_imports", ())],
        "private imports": private(house),
        "duplicate classes": duplicates(house),
        "participles": [place for path, tree in house.files.items() for place in participles(path, tree)],
    }
    lines = {path: len((root / path).read_text().splitlines()) for path in house.files}
    longest = max(lines, key=lambda path: lines[path])
    return [
        Figure("floors", len(floors), tuple(" ".join(names) for names in floors)),
        *(Figure(name, len(places), tuple(places)) for name, places in counted.items()),
        Figure("longest file", lines[longest], (longest,)),
    ]


def floors_of(house: House) -> list[list[str]]:
    """Packages by floor, the lowest first: a package stands above all that it imports. Circles share a floor."""
    below: dict[str, set[str]] = {name: set() for name in house.packages}
    for module, targets in house.imports.items():
        below[top(module)] |= {top(target) for target in targets} - {top(module)}
    level = dict.fromkeys(below, 0)
    group = {name: index for index, names in enumerate(circles(below)) for name in names}
    for _ in below:  # as many times as the longest chain could be
        for name, targets in below.items():
            apart = [t for t in targets if name not in group or group.get(t) != group[name]]
            level[name] = max([level[name], *(level[target] + 1 for target in apart)])
    return [[name for name in sorted(level) if level[name] == floor] for floor in range(max(level.values()) + 1)]


def top(module: str) -> str:
    """The package at the root of a module's name."""
    return module.partition(".")[0]


def contracts(house: House) -> list[dict[str, Any]]:
    """As import-linter checks them."""
    listed: list[dict[str, Any]] = house.settings["contracts"]
    return listed


def upward(house: House) -> list[str]:
    """Imports from a lower layer into a higher one, of all `layers` contracts."""
    edges = {(module, target) for module, targets in house.imports.items() for target in targets}
    edges |= {
        (module, target)
        for module, tree in house.modules.items()
        for target in loaded(tree, house.imports)
        if top(target) != top(module)
    }
    against = set()
    for contract in contracts(house):
        if contract["type"] != "layers":
            continue
        for container in contract.get("containers", [""]):
            ranks = ranks_of(contract["layers"], container)
            for module, target in edges:
                here, there = rank(module, ranks), rank(target, ranks)
                if here is not None and there is not None and there < here:
                    against.add(f"{module} -> {target}")
    return sorted(against)


def ranks_of(layers: list[str], container: str) -> dict[str, int]:
    """Package -> how far from the top.

    >>> ranks_of(["edge_bench : benchmarks", "edge"], "")
    {'edge_bench': 0, 'benchmarks': 0, 'edge': 1}
    """
    names = ((i, name.strip("() ")) for i, layer in enumerate(layers) for name in layer.replace("|", ":").split(":"))
    return {f"{container}.{name}" if container else name: i for i, name in names}


def rank(module: str, ranks: Mapping[str, int]) -> int | None:
    """That of the package a module is in; none, if no layer has it."""
    parts = module.split(".")
    return next((ranks[name] for n in range(len(parts)) if (name := ".".join(parts[: len(parts) - n])) in ranks), None)


def loaded(tree: ast.Module, known: Mapping[str, object]) -> set[str]:
    """Modules that are named in strings, as plug-in loaders take them."""
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if "." in text and text in known}


def circles(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of two or more that import one another, directly or not (strongly connected components, Tarjan 1972).

    >>> circles({"a": {"b"}, "b": {"c"}, "c": {"b"}})
    [['b', 'c']]
    """
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = lowest[name] = len(index)
        stack.append(name)
        for target in sorted(imports.get(name, ())):
            if target not in index:
                visit(target)
                lowest[name] = min(lowest[name], lowest[target])
            elif target in stack:
                lowest[name] = min(lowest[name], index[target])
        if lowest[name] == index[name]:
            cut = stack.index(name)
            group = sorted(stack[cut:])
            del stack[cut:]
            if len(group) > 1:
                groups.append(group)

    for name in imports:
        if name not in index:
            visit(name)
    return sorted(groups)


def private(house: House) -> list[str]:
    """Uses of what another file, or another package, keeps to itself."""
    uses = (
        f"{module} -> {use}"
        for module, tree in house.modules.items()
        for use in (*_private_imports(module, tree, house.imports), *_private_attributes(module, tree, house.imports))
    )
    return sorted(set(uses))


def _private_imports(module: str, tree: ast.Module, known: Mapping[str, object]) -> Iterator[str]:
    """Imports of underscored modules of other packages, and of underscored names of other modules."""
    package = module if any(name.startswith(f"{module}.") for name in known) else module.rpartition(".")[0]
    for whole in _imported(tree, known).values():
        if whole in known:
            yield from _foreign_module(whole, package)
        else:
            home, _, name = whole.rpartition(".")
            yield from _foreign_module(home, package)
            if is_private(name):
                yield whole


def _private_attributes(module: str, tree: ast.Module, known: Mapping[str, object]) -> Iterator[str]:
    """Underscored names that are reached through an imported module."""
    aliases = _imported(tree, known)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and isinstance(node.value, ast.Name):
            origin = aliases.get(node.value.id)
            if origin in known and origin != module and f"{origin}.{node.attr}" not in known:
                yield f"{origin}.{node.attr}"


def _imported(tree: ast.Module, known: Mapping[str, object]) -> dict[str, str]:
    """Name in a file -> what it was imported from the packages as, dotted."""
    tops = {top(name) for name in known}
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name for alias in node.names if top(alias.name) in tops}
        elif isinstance(node, ast.ImportFrom) and node.module and top(node.module) in tops:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _foreign_module(name: str, package: str) -> Iterator[str]:
    """The module, if a part of its name is private to a package that the importer is not in."""
    parts = name.split(".")
    for i, part in enumerate(parts):
        home = ".".join(parts[:i])
        if is_private(part) and package != home and not package.startswith(f"{home}."):
            yield name
            return


def is_private(name: str) -> bool:
    """By convention.

    >>> is_private("_checks"), is_private("__init__")
    (True, False)
    """
    return name.startswith("_") and not name.startswith("__")


def duplicates(house: House) -> list[str]:
    """Class names that stand for several things: name, and where."""
    homes: dict[str, list[str]] = defaultdict(list)
    for module, tree in house.modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(module)
    return [f"{name}: {', '.join(modules)}" for name, modules in sorted(homes.items()) if len(modules) > 1]


def participles(path: str, tree: ast.Module) -> Iterator[str]:
    """Places where one of `PARTICIPLES` is bound: a variable, a parameter, a field or an attribute."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.Attribute(attr=name, ctx=ast.Store()):
                if name in PARTICIPLES:
                    yield f"{path}:{node.lineno} {name}"


def main() -> int:
    """Print the figures; 1 if a bound is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.architecture", description="The structure in figures.")
    parser.add_argument("--json", action="store_true", help="with every place that counts")
    parser.add_argument("--all", action="store_true", help="every place that counts, not three of each")
    args = parser.parse_args()
    measured = figures()
    if args.json:
        print(json.dumps([asdict(one) | {"bound": one.bound, "holds": one.holds} for one in measured], indent=1))
    else:
        for one in measured:
            print(f"{one.name:18} {one.value:4}  {'ok' if one.holds else 'BROKEN'} (at most {one.bound})")
            number = len(one.examples) if args.all or one.name == "floors" else 3
            for example in one.examples[:number]:
                print(f"    {example}")
    return 0 if all(one.holds for one in measured) else 1


if __name__ == "__main__":
    sys.exit(guarded("architecture", main))
