"""What a measurement says to people, before it is known where they read: sections of text, a table, a picture.

One description for all: the terminal (`show`), and the files of `edge_report.formats` (HTML, Markdown, CSV).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from textwrap import fill

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class Number:
    """A figure: as machines read it, and as people do."""

    value: float
    text: str

    def __str__(self) -> str:
        return self.text


Cell = str | Number
NAME = 20
"""letters of a name in the terminal, beside numbers"""
Picture = Callable[[], str]
"""draws an SVG; only called where pictures are shown"""


@dataclass(frozen=True)
class Section:
    """One part of a report.

    name: for files and links, in lower case with hyphens. lead, after: paragraphs around the table.
    words: how many of the first columns hold text; the others hold numbers, and stand to the right.
    strong: numbers of the rows that stand out.
    """

    name: str
    title: str
    lead: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()
    words: int = 1
    strong: frozenset[int] = field(default_factory=frozenset)
    after: str = ""
    picture: Picture | None = None


def show(console: Console, sections: Sequence[Section]) -> None:
    """In a terminal; a section that is only a picture is left out."""
    for section in sections:
        if not (section.rows or section.lead or section.after):
            continue
        console.print(f"[bold]{escape(section.title)}[/]", highlight=False)
        if section.lead:
            console.print(section.lead, markup=False, highlight=False, soft_wrap=True)
        if section.rows:
            console.print(_table(section), crop=False)
        if section.after:
            console.print(section.after, markup=False, highlight=False, soft_wrap=True)


def _table(section: Section) -> Table:
    """Names are folded at their hyphens to make room for numbers, of which no digit is ever cut off."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    numbers = len(section.columns) > section.words
    rows = [[str(cell) for cell in row] for row in section.rows]
    if numbers:
        for row in rows:
            row[0] = fill(row[0].replace(" *", "\N{NO-BREAK SPACE}*"), NAME)
    for i, heading in enumerate(section.columns):
        widest = max((len(line) for row in rows for line in row[i].split("\n")), default=0)
        if i >= section.words:
            table.add_column(heading, justify="right", no_wrap=True, min_width=max(widest, len(heading)))
        else:
            table.add_column(heading, overflow="fold", min_width=widest if numbers and i == 0 else None)
    for n, row in enumerate(rows):
        table.add_row(*map(escape, row), style="bold" if n in section.strong else "")
    return table


def size(value: float) -> Number:
    """Bytes, decimal: 1.2 MB."""
    scaled = value
    for unit in ("B", "kB", "MB"):
        if scaled < 1000:
            return Number(value, f"{scaled:.0f} {unit}" if unit == "B" else f"{scaled:.1f} {unit}")
        scaled /= 1000
    return Number(value, f"{scaled:.2f} GB")


def count(value: float) -> Number:
    """Of anything."""
    if value < 1000:
        return Number(value, f"{value:.0f}")
    scaled, units = value / 1000, ["k", "M", "G", "T", "P"]
    while scaled >= 1000 and len(units) > 1:
        scaled /= 1000
        del units[0]
    return Number(value, f"{scaled:.1f} {units[0]}")


def seconds(value: float) -> Number:
    """A duration, in the unit that suits it."""
    for unit, of in (("s", 1.0), ("ms", 1e-3)):
        if value >= of:
            return Number(value, f"{value / of:.3g} {unit}")
    return Number(value, f"{value * 1e6:.3g} \N{MICRO SIGN}s")


def fixed(value: float, digits: int = 3) -> Number:
    """With so many digits after the point."""
    return Number(value, f"{value:,.{digits}f}")


def percent(value: float) -> Number:
    """Of a share."""
    return Number(value, f"{100 * value:.3g}%")


def times(value: float, digits: int = 1) -> Number:
    """How many times something else."""
    return Number(value, f"{value:.{digits}f}x")
