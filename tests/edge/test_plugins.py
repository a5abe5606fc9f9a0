"""A file's name is the name in the configuration."""

import pytest

from edge import plugins
from edge.errors import ConfigError


def test_names() -> None:
    assert {"d-distillation", "d-psgd", "isolated"} <= set(plugins.names("edge.protocols"))
    assert plugins.names("edge.transports") == ["memory", "mqtt"]
    assert {"float32", "probability8", "root4", "top1"} <= set(plugins.names("edge.codec"))


def test_unknown() -> None:
    with pytest.raises(ConfigError, match=r"unknown protocol 'gossip'; there are: .*d-distillation, d-psgd"):
        plugins.load("edge.protocols", "gossip")
    with pytest.raises(ConfigError, match="unknown protocol '_local'"):
        plugins.load("edge.protocols", "_local")
