"""A report as one HTML file that needs nothing else: readable on light and on dark, on a phone and on paper.

Pictures are SVG in the text (`edge_report.figures`): 20 to 60 kB each, and no script. A report with an interactive
plotting library inside would be 4.8 MB (plotly 7.1, measured) before its first point.
"""

from collections.abc import Sequence
from html import escape

from edge_report.document import Number, Section
from edge_report.finding import Finding
from edge_report.formats import setting
from edge_report.specs import FormatSpec

STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --faint: #626b75; --paper: #fdfdfc; --line: #dcdfe3; --card: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6e9; --faint: #99a2ac; --paper: #15181b; --line: #343a41; --card: #1c2024; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 1rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; margin: .5rem 0; } h2 { font-size: 1.1rem; margin: 0 0 .5rem; }
p { margin: .4rem 0; max-width: 60rem; } .setting, figcaption { color: var(--faint); font-size: .85rem; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin: .8rem 0; font-size: .9rem; }
a { color: inherit; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; min-width: 0; }
section.wide { grid-column: 1 / -1; }
figure { margin: 0; } figure svg { display: block; width: 100%; height: auto; max-width: 34rem; margin: 0 auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--faint); border-bottom: 1px solid var(--line); }
th, td { padding: .25rem .6rem; vertical-align: top; } td { border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; } .number { text-align: right; white-space: nowrap; } .strong { font-weight: 700; }
@media print { section { break-inside: avoid; } }
"""


def render(sections: Sequence[Section], finding: Finding) -> str:
    """Write the whole page."""
    title = f"edge-bench {finding.command}"
    links = "".join(f'<a href="#{escape(s.name)}">{escape(s.title)}</a>' for s in sections)
    body = "\n".join(_section(section) for section in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="setting">{escape(setting(finding.environment))}</p>
{f"<nav>{links}</nav>" if len(sections) > 1 else ""}
<main>
{body}
</main>
</body>
</html>
"""


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    parts += [f"<p>{escape(section.lead)}</p>"] if section.lead else []
    if section.picture:
        parts.append(f'<figure role="img" aria-label="{escape(section.title)}">{section.picture()}</figure>')
    if section.rows:
        parts.append(f'<div class="scroll" tabindex="0">{_table(section)}</div>')
    parts += [f"<p>{escape(section.after)}</p>"] if section.after else []
    wide = ' class="wide"' if len(section.columns) > 4 or section.words > 1 else ""
    return f'<section id="{escape(section.name)}"{wide}>' + "\n".join(parts) + "</section>"


def _table(section: Section) -> str:
    def cell(tag: str, i: int, value: object) -> str:
        exact = f' title="{value.value:g}"' if isinstance(value, Number) else ""
        number = ' class="number"' if i >= section.words else ""
        return f"<{tag}{number}{exact}>{escape(str(value)).replace(chr(10), '<br>')}</{tag}>"

    head = "".join(cell("th", i, heading) for i, heading in enumerate(section.columns))
    rows = ""
    for n, row in enumerate(section.rows):
        cells = "".join(cell("td", i, value) for i, value in enumerate(row))
        rows += f"<tr{' class=strong' if n in section.strong else ''}>{cells}</tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


SPEC = FormatSpec(render=render)
