"""A report as Markdown: the tables, for a paper, an issue or a README."""

from collections.abc import Sequence

from edge_report.document import Section
from edge_report.finding import Finding
from edge_report.formats import setting
from edge_report.specs import FormatSpec


def render(sections: Sequence[Section], finding: Finding) -> str:
    """Write headings, paragraphs and tables; numbers are aligned to the right."""
    parts = [f"# edge-bench {finding.command}", setting(finding.environment)]
    for section in sections:
        if not (section.rows or section.lead or section.after):
            continue
        parts.append(f"## {section.title}")
        parts += [section.lead] if section.lead else []
        if section.rows:
            parts.append(_table(section))
        parts += [section.after] if section.after else []
    return "\n\n".join(parts) + "\n"


def _table(section: Section) -> str:
    rule = ["---" if i < section.words else "---:" for i in range(len(section.columns))]
    lines = [list(section.columns), rule]
    for i, row in enumerate(section.rows):
        cells = [str(cell).replace("|", r"\|").replace("\n", "<br>") for cell in row]
        lines.append([f"**{cell}**" if cell else "" for cell in cells] if i in section.strong else cells)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


SPEC = FormatSpec(render=render)
