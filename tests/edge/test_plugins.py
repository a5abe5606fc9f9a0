"""A file's name is the name in the configuration."""

import pytest

from edge import plugins
from edge.errors import ConfigError


def test_names() -> None:
    assert {"d-distillation", "d-psgd", "isolated"} <= set(plugins.names("edge.protocols"))
    assert plugins.names("edge.transports") == ["memory", "mqtt"]
    assert plugins.names("edge.codec") == ["deflate8", "float16", "float32", "integer8", "probability8"]


def test_unknown() -> None:
    with pytest.raises(ConfigError, match=r"unknown protocol 'gossip'; there are: .*d-distillation, d-psgd"):
        plugins.load("edge.protocols", "gossip")
    with pytest.raises(ConfigError, match="unknown protocol '_local'"):
        plugins.load("edge.protocols", "_local")
