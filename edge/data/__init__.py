"""Data sets, one loader a file, and how they are divided among devices."""
