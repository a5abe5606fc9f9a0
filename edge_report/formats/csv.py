"""Every number of a report in a line of its own: section, row, column, value."""

import csv
import io
from collections.abc import Sequence

from edge_report.document import Number, Section
from edge_report.finding import Finding
from edge_report.specs import FormatSpec


def render(sections: Sequence[Section], _finding: Finding) -> str:
    """Write a header and a line for every number, named by the words of its row; values are as measured."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["section", "row", "column", "value"])
    for section in sections:
        for row in section.rows:
            name = " / ".join(str(cell) for cell in row[: section.words])
            for column, cell in list(zip(section.columns, row, strict=True))[section.words :]:
                value = cell.value if isinstance(cell, Number) else cell
                if value != "":
                    writer.writerow([section.name, name, column, value])
    return out.getvalue()


SPEC = FormatSpec(render=render)
