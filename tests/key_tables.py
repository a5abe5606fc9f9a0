"""The tables of keys in docs/node.md and docs/scenario.md, made of the fields they describe.

python -m tests.key_tables      write them anew
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from edge.config import NodeConfig, Table
from edge.flags import Leaf, documentation, leaves
from edge_sim.scenario import Scenario

DOCS = Path(__file__).parents[1] / "docs"
PAGES: dict[str, type[Table]] = {"node.md": NodeConfig, "scenario.md": Scenario}
BEGIN, END = "<!-- keys: made by python -m tests.key_tables -->\n", "<!-- end of keys -->\n"


def table(model: type[Table]) -> str:
    """Every key with its default and its meaning, as Markdown."""
    lines = ["| key | default | meaning |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in _rows(model))]
    return "\n".join(lines) + "\n"


def page(name: str) -> str:
    """A page as it should be."""
    before, rest = (DOCS / name).read_text().split(BEGIN)
    return f"{before}{BEGIN}{table(PAGES[name])}{END}{rest.split(END)[1]}"


def _rows(model: type[Table]) -> Iterator[tuple[str, str, str]]:
    plain: dict[str, list[Leaf]] = {}
    for leaf in leaves(model):
        plain.setdefault(leaf.path[0], []).append(leaf)
    for name, field in model.model_fields.items():
        for leaf in plain.get(name, [Leaf((name,), model, field)]):
            yield _row(leaf.key, leaf)
        if name not in plain:
            inner = [kind for kind in get_args(field.annotation) if isinstance(kind, type) and issubclass(kind, Table)]
            for leaf in leaves(inner[0]) if inner else ():
                yield _row(f"{name}[].{leaf.key}", leaf)


def _row(key: str, leaf: Leaf) -> tuple[str, str, str]:
    default = "required" if leaf.field.is_required() else f"`{leaf.default}`" if leaf.default else "none"
    default = "`false`" if leaf.field.default is False else default
    meaning = documentation(leaf.owner)[leaf.path[-1]].replace("|", r"\|")
    return f"`{key}`", default, re.sub(r"\bdocs/(\w+\.md)", r"[\1](\1)", meaning)


if __name__ == "__main__":
    for name in PAGES:
        (DOCS / name).write_text(page(name))
