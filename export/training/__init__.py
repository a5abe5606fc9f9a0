"""The training step: the model placed in a graph, its losses, their gradients, and the update."""
