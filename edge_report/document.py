"""A report before it is known where it is read: sections, each with text, a table, a picture.

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
    """A figure: as machines read it, and as people do.

    >>> str(Number(1500, "1.5 kB"))
    '1.5 kB'
    """

    value: float
    text: str

    def __str__(self) -> str:
        return self.text


Cell = str | Number
NAME = 20
"""width of a name in the terminal, beside numbers"""
Picture = Callable[[], str]
"""draws an SVG; only called where pictures are shown"""


@dataclass(frozen=True)
class Section:
    """One part of a report.

    Attributes:
        name: for files and links, in lower case with hyphens.
        title: its heading.
        lead: a paragraph before the table.
        columns: headings of the table.
        rows: a cell for each column.
        words: how many of the first columns hold text; the others hold numbers, and are aligned to the right.
        strong: indices of the rows that stand out.
        after: a paragraph after the table.
        picture: draws an SVG element.
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
    """Print sections in a terminal; one that is only a picture is left out."""
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
    """Fold names at their hyphens to make room for numbers, of which no digit is ever cut off."""
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
    """Format bytes, in decimal units.

    >>> str(size(1_200_000))
    '1.2 MB'
    """
    scaled = value
    for unit in ("B", "kB", "MB"):
        if scaled < 1000:
            return Number(value, f"{scaled:.0f} {unit}" if unit == "B" else f"{scaled:.1f} {unit}")
        scaled /= 1000
    return Number(value, f"{scaled:.2f} GB")


def count(value: float) -> Number:
    """Format a number of things.

    >>> str(count(1500))
    '1.5 k'
    """
    if value < 1000:
        return Number(value, f"{value:.0f}")
    scaled, units = value / 1000, ["k", "M", "G", "T", "P"]
    while scaled >= 1000 and len(units) > 1:
        scaled /= 1000
        del units[0]
    return Number(value, f"{scaled:.1f} {units[0]}")


def seconds(value: float) -> Number:
    """Format a duration, in the unit that suits it.

    >>> str(seconds(0.0025))
    '2.5 ms'
    """
    for unit, of in (("s", 1.0), ("ms", 1e-3)):
        if value >= of:
            return Number(value, f"{value / of:.3g} {unit}")
    return Number(value, f"{value * 1e6:.3g} \N{MICRO SIGN}s")


def fixed(value: float, digits: int = 3) -> Number:
    """Format a number with so many digits after the point."""
    return Number(value, f"{value:,.{digits}f}")


def percent(value: float) -> Number:
    """Format a share of 1 as a percentage."""
    return Number(value, f"{100 * value:.3g}%")


def times(value: float, digits: int = 1) -> Number:
    """Format a ratio, as how many times something else."""
    return Number(value, f"{value:.{digits}f}x")
