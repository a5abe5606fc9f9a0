"""Learning-rate schedules: by which factor the rate is multiplied, as steps or rounds go by.

A schedule is a text: one of

    constant                1
    step:EVERY:FACTOR       FACTOR^(t // EVERY)
    linear:LENGTH:LOWEST    from 1 down to LOWEST (0 if left out) at t = LENGTH, and LOWEST from then on
    cosine:LENGTH:LOWEST    the same along half a cosine (Loshchilov, Hutter, "SGDR", ICLR 2017, equation 5)

with warm-up:N and a + before it, if the first N shall rise in a line: (t + 1) / N. The rest counts t from there.

Examples:
    >>> schedule = parse("warm-up:2+cosine:4")
    >>> [round(schedule(t), 3) for t in range(7)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
"""

from collections.abc import Callable
from functools import lru_cache
from math import cos, pi

Schedule = Callable[[int], float]
"""t, a number of a step or round from 0 -> the factor"""


@lru_cache(maxsize=64)
def parse(text: str) -> Schedule:
    """Read a schedule.

    Args:
        text: as above.

    Returns:
        t, from 0 -> the factor by which the learning rate is multiplied.

    Raises:
        ValueError: what was expected instead.
    """
    first, plus, rest = text.partition("+")
    name, _, arguments = first.partition(":")
    if name == "warm-up":
        return _warm_up(_length(text, arguments), parse(rest) if plus else _constant)
    if plus or name not in _KINDS:
        raise ValueError(
            f"schedule '{text}': expected constant, step:EVERY:FACTOR, linear:LENGTH[:LOWEST] or "
            "cosine:LENGTH[:LOWEST], with warm-up:N+ before it or not"
        )
    return _KINDS[name](text, arguments)


def _constant(_t: int) -> float:
    return 1.0


def _of_constant(text: str, arguments: str) -> Schedule:
    if arguments:
        raise ValueError(f"schedule '{text}': constant takes nothing after it")
    return _constant


def _of_step(text: str, arguments: str) -> Schedule:
    every, _, factor = arguments.partition(":")
    length, value = _length(text, every), _fraction(text, factor)
    return lambda t: value ** (t // length)


def _of_linear(text: str, arguments: str) -> Schedule:
    length, lowest = _falling(text, arguments)
    return lambda t: lowest + (1 - lowest) * max(0.0, 1 - t / length)


def _of_cosine(text: str, arguments: str) -> Schedule:
    length, lowest = _falling(text, arguments)
    return lambda t: lowest + (1 - lowest) * (1 + cos(pi * min(1.0, t / length))) / 2


_KINDS = {"constant": _of_constant, "step": _of_step, "linear": _of_linear, "cosine": _of_cosine}


def _warm_up(length: int, rest: Schedule) -> Schedule:
    return lambda t: (t + 1) / length if t < length else rest(t - length)


def _falling(text: str, arguments: str) -> tuple[int, float]:
    length, _, lowest = arguments.partition(":")
    return _length(text, length), _fraction(text, lowest or "0")


def _length(text: str, number: str) -> int:
    if not number.isdecimal() or not int(number):
        raise ValueError(f"schedule '{text}': expected a number of steps from 1, got '{number}'")
    return int(number)


def _fraction(text: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"schedule '{text}': expected a factor from 0 to 1, got '{number}'")
    return value
