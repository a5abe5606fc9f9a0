"""Results for people: tables and figures, described once, shown in a terminal, written as HTML, Markdown or CSV.

finding     what a measurement leaves: the command, its environment, its numbers
document    sections of a report: text, a table, a picture
figures     pictures as SVG
formats     files that a report can be written as
specs       what a command and a format declare
delivery    the flags that all commands share, and where a result goes
"""
