"""Command-line flags made of the fields of a table of settings, as `edge-node` and `edge-sim` have them.

A field is a flag of its name (`--round-timeout`), a field of a table within a dotted one (`--privacy.noise`), and the
text under the field in the source is its help. Lists of tables, and `settings`, have no flags: they are for the file.

>>> from edge.config import NodeConfig
>>> parser = Parser(prog="edge-node")
>>> parser.add_settings(NodeConfig)
>>> parser.given(parser.parse_args(["--rounds", "5", "--noise", "gaussian:0.1", "--set", "local_steps=3"]))
{'rounds': 5, 'privacy': {'noise': 'gaussian:0.1'}, 'settings': {'local_steps': 3}}
"""

import argparse
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from edge.arguments import CommandParser
from edge.config import Flag, Table
from edge.errors import ConfigError


@dataclass(frozen=True)
class Leaf:
    """A field that can be a flag. path: of names, from the outermost table; owner: the table it is a field of."""

    path: tuple[str, ...]
    owner: type[Table]
    field: FieldInfo

    @property
    def key(self) -> str:
        """Its name in a file, dotted."""
        return ".".join(self.path)

    @property
    def default(self) -> str:
        """Its default as a file would have it; "" where it has none, or nothing by default."""
        value = None if self.field.is_required() else self.field.get_default(call_default_factory=True)
        return "" if value is None or value is False or value in ("", (), {}) else str(value)


class _Wrapped(argparse.HelpFormatter):
    """Breaks lines at spaces only, so that a value like random-regular:D stays whole."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        import textwrap  # only for help

        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class Parser(CommandParser):
    """A command line with a flag for every setting; the settings' help is looked up only when somebody asks for it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Wrapped, **options)
        self._leaves: dict[str, tuple[Leaf, argparse.Action]] = {}

    def format_help(self) -> str:
        """Argparse's, with the documentation of the fields."""
        for leaf, action in self._leaves.values():
            text = documentation(leaf.owner).get(leaf.path[-1], "")
            action.help = f"{text} (default: {leaf.default})" if leaf.default else text
            action.help = action.help.replace("%", "%%")
        return super().format_help()

    def add_settings(self, model: type[Table]) -> None:
        """Add a flag for every field of `model`, hidden ones for their old names, and --set for its `settings`."""
        groups: dict[type[Table], Any] = {}
        for leaf in leaves(model):
            home = _home(leaf)
            if home not in groups:
                groups[home] = self.add_argument_group(_title(home))
            names = [entry.name for entry in leaf.field.metadata if isinstance(entry, Flag)]
            names.append("--" + leaf.key.replace("_", "-"))
            how = _how(leaf.field)
            action = groups[home].add_argument(*names, dest=leaf.key, default=argparse.SUPPRESS, **how)
            self._leaves[leaf.key] = leaf, action
        for old, new in model.RENAMED.items():
            how = _how(model.model_fields[new])
            old_flag = "--" + old.replace("_", "-")
            self.add_argument(old_flag, dest=old, default=argparse.SUPPRESS, **how | {"help": argparse.SUPPRESS})
        self._renamed = set(model.RENAMED)
        if "settings" in model.model_fields:
            help = "a setting of the protocol (repeatable); docs/protocols.md has them"
            self.add_argument("--set", action="append", default=[], type=setting, metavar="KEY=VALUE", help=help)

    def given(self, args: argparse.Namespace) -> dict[str, Any]:
        """Return the values that were given, as nested tables: what goes over a file."""
        values: dict[str, Any] = {}
        for key, value in vars(args).items():
            if key not in self._leaves and key not in self._renamed:
                continue
            *path, last = key.split(".")
            table = values
            for name in path:
                table = table.setdefault(name, {})
            table[last] = value
        if args.set:
            values["settings"] = dict(args.set)
        return values


def leaves(model: type[Table], path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Yield the fields of a table, and of the tables in it, that have plain values or lists of them."""
    for name, field in model.model_fields.items():
        kinds = _kinds(field.annotation)
        tables = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Table)]
        if tables:
            yield from leaves(tables[0], (*path, name))
        elif not any(get_origin(kind) is dict or _of_tables(kind) for kind in kinds):
            yield Leaf((*path, name), model, field)


def documentation(model: type[Table]) -> dict[str, str]:
    """Return field -> the text under it in the source, on one line; a subclass may repeat a field with another."""
    import ast  # only for help: a running node needs neither
    import inspect
    import textwrap

    texts: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if not issubclass(cls, Table):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        assert isinstance(tree, ast.ClassDef)
        for field, text in pairwise(tree.body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                    texts[name] = " ".join(words.split())
    return texts


def _home(leaf: Leaf) -> type[Table]:
    """The class that the field was first written in."""
    lineage = (cls for cls in reversed(leaf.owner.__mro__) if issubclass(cls, Table))
    return next(cls for cls in lineage if leaf.path[-1] in cls.model_fields)


def _title(table: type[Table]) -> str:
    """The beginning of its docstring."""
    return (table.__doc__ or "").replace(":", ".").replace(" (", ".").partition(".")[0]


def _kinds(annotation: Any) -> list[Any]:
    """The types a value may have, None left out."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return [kind for kind in kinds if kind is not NoneType]


def _of_tables(kind: Any) -> bool:
    return any(isinstance(inner, type) and issubclass(inner, Table) for inner in get_args(kind))


def _how(field: FieldInfo) -> dict[str, Any]:
    """How argparse reads a value of that field; what is wrong with it, the model says."""
    kinds = _kinds(field.annotation)
    if bool in kinds:
        return {"action": argparse.BooleanOptionalAction}
    if any(get_origin(kind) in (tuple, list) for kind in kinds):
        return {"action": _Collect} if str in kinds else {"type": _listed, "metavar": "A,B"}
    if choices := [str(value) for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]:
        return {"metavar": "|".join(choices)}
    if str in kinds:
        return {"metavar": "TEXT"}
    numeric = int in kinds or float in kinds
    return {"type": _number, "metavar": "N" if int in kinds else "X"} if numeric else {"metavar": "PATH"}


class _Collect(argparse.Action):
    """One value, or a list of them where the flag is given again."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, value: Any, _option: Any = None) -> None:
        before = getattr(namespace, self.dest, [])
        values = [*(before if isinstance(before, list) else [before]), value]
        setattr(namespace, self.dest, values if len(values) > 1 else value)


def _listed(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _number(text: str) -> int | float | str:
    """Read a number; what is none stays text, which the model refuses with the key's name."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def setting(text: str) -> tuple[str, Any]:
    """KEY=VALUE, the value read as a number where it is one. Raises ConfigError."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text}: expected KEY=VALUE, e.g. learning_rate=0.2")
    return key, _number(value)
