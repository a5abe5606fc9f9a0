"""A file's name is the name in the configuration."""

import pytest

from edge import plugins
from edge.errors import ConfigError


def test_names() -> None:
    assert plugins.names("edge.protocols") == ["d-distillation", "d-psgd", "isolated"]
    assert plugins.names("edge.transports") == ["memory", "mqtt"]
    assert plugins.names("edge.codec") == ["float16", "float32", "probability8"]


def test_unknown() -> None:
    with pytest.raises(ConfigError, match="unknown protocol 'fedavg'; there are: d-distillation, d-psgd, isolated"):
        plugins.load("edge.protocols", "fedavg")
    with pytest.raises(ConfigError, match="unknown protocol '_local'"):
        plugins.load("edge.protocols", "_local")
