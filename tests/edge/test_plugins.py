"""A file's name is the name in the configuration; plug-ins from elsewhere, and those that are refused."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib import invalidate_caches
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from edge import cli as node_cli
from edge import codec, plugins
from edge.codec import CODECS
from edge.data import DATA
from edge.engines import ENGINES
from edge.errors import ConfigError
from edge.protocols import PROTOCOLS
from edge.renames import RenamedWarning
from edge_bench import cli as bench_cli
from edge_sim import cli as sim_cli
from tests.refusals import refusal

Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """What a test adds is gone afterwards."""
    before = os.environ.get(plugins.FILES)
    yield
    if before is None:
        os.environ.pop(plugins.FILES, None)
    else:
        os.environ[plugins.FILES] = before
    plugins.forget()


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Refused:
    """The one line with which each of the three commands refuses; exit code 2."""
    config, study = tmp_path / "node.toml", tmp_path / "study.toml"
    study.write_text("rounds = 1\n[variants.one]\ndevices = 2\n")

    def line(*flags: object, protocol: str = "d-distillation", coding: str = "") -> str:
        table = f'[coding]\nsoft_labels = "{coding}"\n' if coding else ""
        config.write_text(f'id = "a"\npeers = ["a", "b"]\nbundle = "none"\nprotocol = "{protocol}"\n{table}')
        study.write_text(f'rounds = 1\nprotocol = "{protocol}"\n{table}[variants.one]\ndevices = 2\n')
        lines = {
            refusal(main, name, words, monkeypatch, capsys).partition("error: ")[2].strip().split(str(study))[-1]
            for main, name, words in (
                (sim_cli.main, "edge-sim", [str(study), *flags]),
                (bench_cli.main, "edge-bench", ["sweep", study, *flags]),
                (node_cli.main, "edge-node", ["--config", config, *flags]),
            )
        }
        plain = {text.removeprefix(": ") for text in lines}
        assert len(plain) == 1, plain
        return plain.pop()

    return line


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(dedent(text))
    return path


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, entry_points: str, name: str = "fake") -> None:
    """A distribution with these entry points, as pip would leave it."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(dedent(entry_points))
    monkeypatch.syspath_prepend(str(folder))
    invalidate_caches()
    plugins.forget()


QUIET = """
    from edge.protocols import isolated
    from edge.specs import ProtocolSpec

    SPEC = ProtocolSpec(
        settings=isolated.IsolatedSettings,
        objective=isolated.objective,
        create=isolated.create,
        sends=isolated.sends,
        kinds=(),{more}
    )
"""

GOSSIP = """
    from edge.interfaces import Exchange, MessageKind, PrivacyClass
    from edge.protocols import LocalSettings, Stateless, message, train
    from edge.specs import ProtocolSpec

    OPINIONS = MessageKind("opinions", 201, PrivacyClass.DISTRIBUTION, "simplex:8", like="soft-labels")

    class Gossip(Stateless):
        def __init__(self, context, settings):
            self.context, self.settings = context, settings
            self.form = OPINIONS.format(context.reference_digest, (len(context.reference_x), context.classes))

        def accepts(self):
            return dict.fromkeys(self.context.neighbours, (self.form,))

        def round(self, number, engine):
            metrics = train(engine, self.context, self.settings, number)
            mine = message(self.form, number, engine.predict(self.context.reference_x))
            neighbours = self.context.neighbours
            result = yield Exchange(dict.fromkeys(neighbours, (mine,)), dict.fromkeys(neighbours, ("opinions",)))
            return metrics | {"opinions": float(len(result.of("opinions")))}

    SPEC = ProtocolSpec(
        settings=LocalSettings,
        objective=lambda settings: ("cross_entropy",),
        create=Gossip,
        sends=lambda settings: (OPINIONS,),
        kinds=(OPINIONS,),
    )
"""

NIBBLES = """
    import numpy as np
    from edge.specs import BodyCoding, CodecSpec

    def encode(values):
        return np.rint(values * 15).astype(np.uint8).tobytes()

    def decode(body, rows, columns):
        return (np.frombuffer(body, np.uint8).reshape(rows, columns) / 15).astype(np.float32)

    SPEC = CodecSpec(codings={{"": BodyCoding({number}, lambda rows, columns: rows * columns, encode, decode)}})
"""


def simulated(path: Path, monkeypatch: pytest.MonkeyPatch, *words: object) -> dict[str, Any]:
    """The result of edge-sim on two small devices."""
    out = path / "out.json"
    job = ["--devices", 3, "--rounds", 2, "--model", "zoo:mlp:8", "--reference", 20, "--json", out]
    monkeypatch.setattr(sys, "argv", ["edge-sim", *map(str, [*job, *words])])
    assert sim_cli.main() == 0
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def test_names() -> None:
    assert {"d-distillation", "d-psgd", "isolated"} <= set(PROTOCOLS.names())
    assert plugins.names("edge.transports") == ["memory", "mqtt"]
    assert {"float32", "simplex:8", "cuberoot:4", "topk:1"} <= set(codec.names())
    assert {"cuberoot", "delta", "log", "simplex", "topk"} <= set(CODECS.names())


def test_unknown() -> None:
    with pytest.raises(ConfigError, match=r"unknown protocol 'gossip'; there are: .*d-distillation, d-psgd"):
        plugins.load("edge.protocols", "gossip")
    with pytest.raises(ConfigError, match="unknown protocol '_local'"):
        plugins.load("edge.protocols", "_local")


@pytest.mark.parametrize("family", [CODECS, DATA, ENGINES, PROTOCOLS], ids=lambda family: family.group)
def test_every_file_has_a_spec(family: Any) -> None:
    for name in family.names():
        if name != "ort-training":  # which needs an environment of its own
            assert isinstance(family.load(name), family.spec)


def test_a_protocol_from_a_file_with_a_kind_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named as the file is; its kind takes a coding, noise applies to it, and no file of this package was edited."""
    path = written(tmp_path, "small_talk.py", GOSSIP)
    flags = ["--plugin", path, "--protocol", "small-talk"]
    plain = simulated(tmp_path, monkeypatch, *flags)
    assert plain["rounds"][-1]["metrics"]["opinions"] == 2
    assert plain["payload_bytes_total"] == 2 * 6 * (codec.HEADER + 20 * 10)
    study = written(tmp_path, "coded.toml", '[coding]\nopinions = "simplex:4"\n')
    coded = simulated(tmp_path, monkeypatch, study, *flags, "--noise", "gaussian:0.1")
    assert coded["payload_bytes_total"] == 2 * 6 * (codec.HEADER + 20 * 10 // 2)
    capsys.readouterr()


def test_the_example_is_a_plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = Path(__file__).parents[2] / "docs" / "examples" / "own_protocol.py"
    result = simulated(tmp_path, monkeypatch, "--plugin", example, "--protocol", "own-protocol")
    assert result["protocol"] == "own-protocol"


def test_a_coding_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "nibbles.py", NIBBLES.format(number=211))
    result = simulated(tmp_path, monkeypatch, "--plugin", path, "--coding", "nibbles")
    assert result["payload_bytes_total"] == 2 * 6 * (codec.HEADER + 20 * 11)


def test_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A protocol, a coding, a data set and an engine of another distribution."""
    for name, text in {
        "fake_protocol": QUIET.format(more=""),
        "fake_codec": NIBBLES.format(number=212),
        "fake_data": "from edge.data.digits import SPEC",
        "fake_engine": "from edge.engines.onnx_runtime import SPEC",
    }.items():
        written(tmp_path, f"{name}.py", text)
    installed(
        tmp_path,
        monkeypatch,
        """
        [murmur.protocols]
        hermit = fake_protocol
        [murmur.codecs]
        nibbles = fake_codec:SPEC
        [murmur.data]
        numbers = fake_data
        [murmur.engines]
        other-runtime = fake_engine
        """,
    )
    words = ["--protocol", "hermit", "--compare", "d-distillation", "--coding", "nibbles", "--data", "numbers"]
    result = simulated(tmp_path, monkeypatch, *words, "--engine", "other-runtime")
    assert [line["protocol"] for line in result["comparison"]] == ["hermit", "d-distillation"]


def test_workers_have_the_plug_ins_of_their_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep in two processes."""
    path = written(tmp_path, "hermit.py", QUIET.format(more=""))
    study = written(
        tmp_path,
        "study.toml",
        'protocol = "hermit"\nrounds = 1\nmodel = "zoo:mlp:8"\n'
        "[variants.two]\ndevices = 2\n[variants.three]\ndevices = 3\n",
    )
    words = ["edge-bench", "sweep", study, "--plugin", path, "--workers", 2, "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    assert bench_cli.main() == 0


def test_an_entry_point_that_does_not_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    written(tmp_path, "broken.py", "import no_such_package")
    installed(tmp_path, monkeypatch, "[murmur.protocols]\nbroken = broken\nlost = no_such_module\n")
    where = "the entry point murmur.protocols:"
    line = f"{where} broken = broken of fake cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"
    assert refused(protocol="broken") == line
    assert f"{where} lost = no_such_module of fake cannot be imported" in refused(protocol="lost")


def test_a_misspelt_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    path = written(tmp_path, "hermit.py", QUIET.format(more='\n        center="server",'))
    line = "ProtocolSpec has no field 'center'; did you mean 'centre'?"
    assert refused("--plugin", path, protocol="hermit") == f"--plugin {path}: {line}"
    installed(tmp_path, monkeypatch, "[murmur.protocols]\nanchorite = hermit\n")
    assert refused(protocol="anchorite").endswith(line)


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("same_model=1,", "ProtocolSpec.same_model: Input should be a valid boolean"),
        ("centre=lambda settings: 1,", "ProtocolSpec.centre: Input should be a valid string"),
        ('perturbs=("weights",),', "ProtocolSpec.perturbs.0: Input should be an instance of MessageKind"),
        ("centre_model='all',", "ProtocolSpec.centre_model: Input should be 'same' or 'rest'"),
    ],
)
def test_a_field_of_the_wrong_type(more: str, line: str, tmp_path: Path, refused: Refused) -> None:
    path = written(tmp_path, "hermit.py", QUIET.format(more="\n        " + more))
    assert refused("--plugin", path) == f"--plugin {path}: {line}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1", "no SPEC; expected SPEC = one of "),
        ("SPEC = {}", "SPEC is dict; expected SPEC = one of "),
        ("def f(:", "cannot be imported: SyntaxError: "),
        ("raise SystemError('on purpose')", "cannot be imported: SystemError: on purpose"),
    ],
)
def test_files_that_are_no_plug_ins(text: str, line: str, tmp_path: Path, refused: Refused) -> None:
    path = written(tmp_path, "odd.py", text)
    assert line in refused("--plugin", path)
    assert refused("--plugin", tmp_path / "none.py") == f"--plugin {tmp_path / 'none.py'}: there is no such file"


def test_two_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    own = written(tmp_path, "isolated.py", QUIET.format(more=""))
    assert refused("--plugin", own) == (
        f"two plug-ins are called 'isolated' (protocol): edge.protocols.isolated and {own}; rename or remove one"
    )
    first, second = (tmp_path / name for name in "ab")
    paths = []
    for folder in (first, second):
        folder.mkdir()
        paths.append(written(folder, "hermit.py", QUIET.format(more="")))
    assert f"{paths[0]} and {paths[1]}" in refused("--plugin", paths[0], "--plugin", paths[1])
    os.environ.pop(plugins.FILES, None)
    installed(first, monkeypatch, "[murmur.protocols]\nhermit = hermit\n", "one")
    installed(second, monkeypatch, "[murmur.protocols]\nhermit = hermit:SPEC\n", "two")
    assert "hermit = hermit of one and the entry point" in refused(protocol="hermit")


def test_two_codings_of_one_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    path = written(tmp_path, "nibbles.py", NIBBLES.format(number=3))
    line = "codings nibbles and simplex:8 have the same ID 3, so that either would decode the other's messages"
    assert line in refused("--plugin", path)
    os.environ.pop(plugins.FILES, None)
    installed(tmp_path, monkeypatch, "[murmur.codecs]\nnibbles = nibbles\n")
    assert line in refused()


def test_a_kind_that_is_another_s(tmp_path: Path, refused: Refused) -> None:
    taken = written(tmp_path, "taken.py", GOSSIP.replace('"opinions", 201', '"opinions", 2'))
    line = "message kind 'opinions' (2) is already declared otherwise: 'weights' (2); choose another name and number"
    assert refused("--plugin", taken, protocol="taken") == line
    other = written(tmp_path, "other.py", GOSSIP.replace('"opinions", 201', '"again", 202'))
    assert "message kind 'again': a name is" in refused("--plugin", other, protocol="other")


def test_a_kind_that_nobody_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refused: Refused
) -> None:
    """Sent, or accepted, without being listed; or sent without a word."""
    unlisted = written(tmp_path, "unlisted.py", GOSSIP.replace("kinds=(OPINIONS,)", "kinds=()"))
    line = "unlisted sends messages of kind 'opinions', which its SPEC does not list in `kinds`"
    assert refused("--plugin", unlisted, protocol="unlisted") == line
    silent = GOSSIP.replace("kinds=(OPINIONS,)", "kinds=()").replace("(OPINIONS,)", "()")
    path = written(tmp_path, "silent.py", silent.replace("201", "203").replace('"opinions"', '"hidden"'))
    words = ["--plugin", path, "--protocol", "silent", "--rounds", 1, "--model", "zoo:mlp:8"]
    assert refusal(sim_cli.main, "edge-sim", words, monkeypatch, capsys) == (
        "edge-sim: error: silent accepts messages of kind 'hidden' (distributions over the classes), which its SPEC "
        "does not declare: add them to `kinds`\n"
    )


def test_codings_of_kinds_that_are_not_there(refused: Refused) -> None:
    assert "unknown coding 'zip'; there are: cuberoot:4" in refused(coding="zip")


def test_old_names_of_codings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = simulated(tmp_path, monkeypatch, "--coding", "probability8")
    assert "edge-sim: note: coding.soft_labels: 'probability8' is called 'simplex:8' now" in capsys.readouterr().err
    assert result["scenario"]["coding"]["soft_labels"] == "simplex:8"
    with pytest.warns(RenamedWarning, match="'root4' is called 'cuberoot:4' now"):
        assert codec.find("root4") is codec.find("cuberoot:4")
