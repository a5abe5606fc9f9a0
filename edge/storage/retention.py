"""What a bounded store of arriving samples keeps: "POLICY:CAPACITY".

ring             the newest
reservoir        each that ever came with the same probability (Vitter, "Random Sampling with a Reservoir", 1985, R)
class-balanced   the newest of each class, so many of all classes as possible alike
by-time          "by-time:SECONDS:CAPACITY": the newest, none older than that
"""

from edge.errors import ConfigError

POLICIES = ("ring", "reservoir", "class-balanced", "by-time")


def parse(policy: str) -> tuple[str, int, float]:
    """Read a policy.

    >>> parse("by-time:60:1000")
    ('by-time', 1000, 60.0)

    Args:
        policy: "POLICY:CAPACITY", or "by-time:SECONDS:CAPACITY".

    Returns:
        Its name, the capacity in samples, and the seconds, 0 without a limit.

    Raises:
        ConfigError: there is no such policy.
    """
    name, *numbers = policy.split(":")
    wanted = 2 if name == "by-time" else 1
    if name not in POLICIES or len(numbers) != wanted or not all(n.isdecimal() and int(n) for n in numbers):
        raise ConfigError(
            f"store '{policy}': expected ring:CAPACITY, reservoir:CAPACITY, class-balanced:CAPACITY or "
            "by-time:SECONDS:CAPACITY"
        )
    return name, int(numbers[-1]), float(numbers[0]) if wanted == 2 else 0.0
