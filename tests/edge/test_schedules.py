"""Learning-rate schedules."""

import pytest

from edge import schedules
from edge.protocols.isolated import IsolatedSettings


@pytest.mark.parametrize(
    ("text", "factors"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("step:2:0.5", [1, 1, 0.5, 0.5, 0.25]),
        ("linear:4", [1, 0.75, 0.5, 0.25, 0]),
        ("linear:2:0.5", [1, 0.75, 0.5, 0.5, 0.5]),
        ("cosine:2:0.2", [1, 0.6, 0.2, 0.2, 0.2]),
        ("warm-up:2", [0.5, 1, 1, 1, 1]),
        ("warm-up:2+linear:2", [0.5, 1, 1, 0.5, 0]),
    ],
)
def test_factors(text: str, factors: list[float]) -> None:
    assert [schedules.parse(text)(t) for t in range(5)] == pytest.approx(factors)


@pytest.mark.parametrize(
    "text", ["", "cosin:5", "cosine", "cosine:0", "step:5", "step:5:2", "linear:5:x", "warm-up", "cosine:3+step:1:1"]
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^schedule '{text.replace('+', '.')}': "):
        schedules.parse(text)


def test_rounds_follow_the_schedule_of_the_settings() -> None:
    settings = IsolatedSettings(learning_rate=0.2, schedule="warm-up:2+step:1:0.5")
    assert [settings.rate(number) for number in range(1, 5)] == pytest.approx([0.1, 0.2, 0.2, 0.1])
    with pytest.raises(ValueError, match="leave one of them out"):
        IsolatedSettings(decay_after=3, schedule="cosine:5")
