"""Commands of `edge-bench`, one file each, named as on the command line.

A module has:

TEXT       one line of help
FINDING    the model of what it finds (`edge_bench.record.Finding`)
arguments  adds its flags to a parser
run        (arguments, progress) -> a finding; raises ConfigError before it measures anything
sections   of a finding, for people (`edge_report.document`)
"""
