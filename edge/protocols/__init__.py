"""Distributed learning algorithms, one a file, named as their papers name them."""
