"""The fleet as a graph: who is whose neighbour, and the doubly stochastic weights of mixing."""
