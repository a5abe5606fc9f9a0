"""Tests of transports, beside those that all have to pass."""
