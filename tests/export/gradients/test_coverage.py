"""No rule without a judge: every operator in RULES is named in the tests of this folder."""

import re
from pathlib import Path

import pytest

from export.gradients import RULES, ZERO, gradient


@pytest.mark.parametrize("op_type", sorted(RULES))
def test_rule_is_checked(op_type: str) -> None:
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert re.search(rf'"{op_type}"', text)


def test_missing_and_zero_are_different() -> None:
    assert not ZERO & RULES.keys()


def test_a_second_rule_for_an_operator_is_refused() -> None:
    with pytest.raises(ValueError, match="Conv has a gradient rule"):
        gradient("Conv")(lambda *_: [])
