"""What every command does with a mistake on its command line."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from edge.arguments import CommandParser

COMMANDS = ("edge-node", "edge-sim", "edge-export", "edge-bench", "edge-broker")


def command(*words: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / words[0]
    return subprocess.run([program, *words[1:]], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_version(name: str) -> None:
    done = command(name, "--version")
    assert (done.returncode, done.stdout) == (0, f"{name} {version('murmur-edge')}\n")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("edge-sim", "--device", "4"), "unrecognized arguments: --device; did you mean --devices?"),
        (("edge-sim", "--protcol=d-psgd"), "did you mean --protocol?"),
        (("edge-export", "zoo:mlp:8", "-o", "bundle", "--objectiv", "d-psgd"), "did you mean --objective?"),
        (("edge-broker", "initt", "fleet"), "did you mean init?"),
        (("edge-bench", "reprduce"), "did you mean reproduce?"),
        (("edge-sim", "--colour"), "edge-sim --help names all flags"),
    ],
)
def test_a_mistake_is_one_line_that_names_what_was_meant(words: tuple[str, ...], answer: str) -> None:
    done = command(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{words[0]}: error: ")
    assert done.stderr.rstrip().endswith(answer)
    assert done.stderr.count("\n") == 1


def test_a_subcommand_has_the_same_manners(capsys: pytest.CaptureFixture[str]) -> None:
    parser = CommandParser(prog="tool")
    subparser = parser.add_subparsers().add_parser("run")
    subparser.add_argument("--rounds", type=int)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["run", "--round", "3"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "tool: error: unrecognized arguments: --round 3; did you mean --rounds?\n"
    with pytest.raises(SystemExit):
        subparser.parse_args(["--version"])
    assert "unrecognized" in capsys.readouterr().err
