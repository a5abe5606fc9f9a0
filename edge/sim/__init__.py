"""`edge-sim`: many devices in one process, the same node loop."""
