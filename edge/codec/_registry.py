"""All codings there are, by the name that settings use and by the number on the wire."""

from functools import cache

from edge import renames
from edge.errors import ConfigError
from edge.plugins import Family, on_change
from edge.specs import BodyCoding, CodecSpec

CODECS = Family("edge.codec", CodecSpec, "coding", "murmur.codecs")
RENAMED = {
    **{f"probability{bits}": f"simplex:{bits}" for bits in (8, 4, 2, 1)},
    **{f"root{bits}": f"cuberoot:{bits}" for bits in (6, 5, 4)},
    **{f"logarithm{bits}": f"log:{bits}" for bits in (8, 6, 4)},
    **{f"top{most}": f"topk:{most}" for most in (1, 3)},
    **{f"delta{cells}": f"delta:{cells}" for cells in (24, 15, 7, 3)},
    "difference8": "int8-delta",
}
"""old names, accepted for one release"""


@cache
def codings() -> dict[str, BodyCoding]:
    """Every coding by its name: the family's, and its argument if it has one.

    Raises ConfigError: two of one number, or a number that does not fit the header.
    """
    by_name: dict[str, BodyCoding] = {}
    names: dict[int, str] = {}
    for family, spec in CODECS.all().items():
        for argument, coding in spec.codings.items():
            name = f"{family}:{argument}" if argument else family
            if not 1 <= coding.id <= 255:
                raise ConfigError(f"coding {name}: ID {coding.id} does not fit the header; use 1 to 255")
            if coding.id in names:
                raise ConfigError(
                    f"codings {names[coding.id]} and {name} have the same ID {coding.id}, so that either would decode "
                    "the other's messages; give one of them another"
                )
            names[coding.id], by_name[name] = name, coding
    return dict(sorted(by_name.items()))


@cache
def by_id() -> dict[int, BodyCoding]:
    """Every coding by its number on the wire."""
    return {coding.id: coding for coding in codings().values()}


on_change(codings.cache_clear)
on_change(by_id.cache_clear)


def names(kind: str = "") -> list[str]:
    """Name all codings, e.g. ["cuberoot:4", ..., "simplex:8"], or only those that can carry messages of `kind`."""
    return [name for name in codings() if not kind or kind in (carried(name) or (kind,))]


def canonical(name: str, where: str = "") -> str:
    """Return the name that a coding has today. where: what it was written for, for the notice."""
    return renames.name(name, RENAMED, where)


def find(name: str) -> BodyCoding:
    """Look a coding up. Raises ConfigError: there is none of that name."""
    coding = codings().get(canonical(name))
    if coding is None:
        raise ConfigError(f"unknown coding '{name}'; there are: {', '.join(codings())}")
    return coding


def carried(name: str) -> tuple[str, ...] | None:
    """The kinds of message that a coding can carry; None for any."""
    return CODECS.load(canonical(name).partition(":")[0]).kinds
