"""Results for people: tables and figures, described once, shown in a terminal, written as HTML, Markdown or CSV."""
