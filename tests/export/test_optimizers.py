"""No optimizer without a judge: each is compared with PyTorch in test_torch.py."""

from pathlib import Path

import pytest

from edge.plugins import names


@pytest.mark.parametrize("name", names("export.optimizers"))
def test_optimizer_is_compared(name: str) -> None:
    text = Path(__file__).with_name("test_torch.py").read_text()
    assert f'("{name}", ' in text
