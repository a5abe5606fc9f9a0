"""One job in Murmur and in its peers, each in an environment of its own; `python -m benchmarks.peers`."""
