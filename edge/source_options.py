"""Options of a source, after its path: `csv:field/a.csv?label=kind&columns=x,y`.

>>> split("csv", "a.csv?label=kind", {"label": "label", "columns": ""})
('a.csv', {'label': 'kind', 'columns': ''})
"""

from collections.abc import Mapping
from urllib.parse import unquote

from edge.errors import ConfigError


def split(kind: str, argument: str, defaults: Mapping[str, str], noun: str = "data") -> tuple[str, dict[str, str]]:
    """Take a source's argument apart.

    Args:
        kind: the source's name, for messages.
        argument: what followed it.
        defaults: of all options that it has.
        noun: what a source is called, for messages.

    Returns:
        The path, and the options; %XX in a value is the character of that number.

    Raises:
        ConfigError: no path, or an option that there is not.
    """
    path, _, text = argument.partition("?")
    values = dict(defaults)
    for part in text.split("&") if text else ():
        name, given, value = part.partition("=")
        if name not in defaults or not given:
            known = ", ".join(f"{option}=" for option in defaults)
            raise ConfigError(f"{noun} '{kind}:{argument}': no option '{part}'; after the ? there are: {known}")
        values[name] = unquote(value)
    if not path:
        raise ConfigError(f"{noun} '{kind}:{argument}': a path is missing, as in {kind}:PATH")
    return path, values


def separator(kind: str, argument: str, text: str, noun: str = "data") -> str:
    """Read the option `separator` of a table.

    Args:
        kind: the source's name, for messages.
        argument: what followed it, likewise.
        text: what the option says.
        noun: what a source is called, for messages.

    Returns:
        One character.

    Raises:
        ConfigError: it says more or less than one.
    """
    character = "\t" if text == "tab" else text
    if len(character) != 1:
        raise ConfigError(f"{noun} '{kind}:{argument}': separator={text}: expected one character, or tab")
    return character
