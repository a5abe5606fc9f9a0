"""A file's name is the name in the configuration."""

import pytest

from edge import codec, plugins
from edge.errors import ConfigError


def test_names() -> None:
    assert {"d-distillation", "d-psgd", "isolated"} <= set(plugins.names("edge.protocols"))
    assert plugins.names("edge.transports") == ["memory", "mqtt"]
    assert {"float32", "simplex:8", "cuberoot:4", "topk:1"} <= set(codec.names())


def test_unknown() -> None:
    with pytest.raises(ConfigError, match=r"unknown protocol 'gossip'; there are: .*d-distillation, d-psgd"):
        plugins.load("edge.protocols", "gossip")
    with pytest.raises(ConfigError, match="unknown protocol '_local'"):
        plugins.load("edge.protocols", "_local")
