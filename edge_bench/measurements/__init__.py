"""How each command of `edge-bench` measures: one module a command, whose docstring is the method."""
