"""A command line as every command has it: no abbreviations, a word for a typing mistake, and --version.

>>> parser = CommandParser(prog="edge-sim")
>>> _ = parser.add_argument("--devices", type=int)
>>> parser.parse_args(["--devices", "4"]).devices
4
"""

import argparse
import difflib
import re
from collections.abc import Iterator
from typing import Any, NoReturn


class CommandParser(argparse.ArgumentParser):
    """Argparse that refuses in one line and names what may have been meant.

    An abbreviation is refused: `--device 4` would otherwise be `--devices 4` today and another flag tomorrow.
    A parser made without a `prog` of its own, as that of a subcommand, has the same manners and no --version.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        if " " not in self.prog:
            self.add_argument("--version", action=_Version, help="print the installed version, and exit")

    def error(self, message: str) -> NoReturn:
        """Exit with code 2, after one line."""
        guesses = [guess for word in _mistakes(message) for guess in self._near(word, message)]
        hint = f"; did you mean {' or '.join(guesses)}?" if guesses else f"; {self.prog} --help names all flags"
        self.exit(2, f"{self.prog}: error: {message}{hint}\n")

    def _near(self, word: str, message: str) -> list[str]:
        """What is spelt almost as `word` is: a flag, or one of the choices that the message itself lists."""
        choices = re.search(r"\(choose from (.*)\)", message)
        known = re.findall(r"[\w.:-]+", choices[1]) if choices else sorted(set(_flags(self)))
        whole = [flag for flag in known if flag.startswith(word) and len(word) > 3]
        # Dashes are left out: all flags share them, which would make short ones look alike.
        bare = {name.strip("-"): name for name in known}
        return whole[:2] or [bare[name] for name in difflib.get_close_matches(word.strip("-"), bare, 1, 0.7)]


class _Version(argparse.Action):
    """Prints the version of the package; it is looked up only when somebody asks."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"dest": argparse.SUPPRESS, "default": argparse.SUPPRESS, "nargs": 0})

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version  # slow, and needed for nothing else here

        print(f"{parser.prog} {version('murmur-edge')}")
        parser.exit()


def _mistakes(message: str) -> list[str]:
    """The words that argparse did not know, without their values."""
    if unknown := re.search(r"unrecognized arguments: (.*)", message):
        return [word.partition("=")[0] for word in unknown[1].split() if word.startswith("-")]
    return re.findall(r"invalid choice: '([^']*)'", message)


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The flags of a parser and of its subcommands that help shows."""
    for action in parser._actions:  # argparse has no other way to list them
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from _flags(subparser)
        elif action.help != argparse.SUPPRESS:
            yield from action.option_strings
