"""`edge-bench`: measurements, each with its method and its check.

commands        what a user can run, one file each
measurements    how it is measured
claims          what the papers claim
record          results read back
"""

from edge import process

process.use_one_thread()  # before anything else, as libraries read it when they are loaded
