"""The job of `benchmarks.peers` as a Flower app."""
