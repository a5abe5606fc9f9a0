"""Files that survive a power cut: atomic writes, checkpoints, the log of metrics."""
