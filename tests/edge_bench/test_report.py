"""Reports: one description, and what becomes of it in the terminal, HTML, Markdown and CSV."""

import argparse
import csv
import dataclasses
import io
import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from rich.console import Console

from edge import plugins
from edge.errors import ConfigError
from edge_bench import cli, commands
from edge_report import delivery, document, figures, formats
from edge_report.document import Number, Section, count, fixed, percent, seconds, size
from edge_report.finding import Finding
from edge_report.specs import CommandSpec
from tests.refusals import refusal

FINDING = Finding(command="wire")
TABLE = Section(
    "sizes",
    "Sizes <of> things",
    lead="Before & after.",
    columns=("thing", "bytes", "share"),
    rows=[("a|b", size(1500), percent(0.25)), ("<c>", size(12), "")],
    strong=frozenset([1]),
    after="The end.",
)
PICTURE = Section("drawn", "Drawn", picture=lambda: figures.lines({"one": [(1, 2), (2, 3)]}, "round", "accuracy"))
VOID = {"meta", "link", "br", "img", "hr", "input"}


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["edge-bench", *words])
    return cli.main()


class Page(HTMLParser):
    """What is in a page; fails where elements do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_html_needs_nothing_else() -> None:
    text = formats.load(Path("x.html")).render([TABLE, PICTURE], FINDING)
    page = Page(text)
    names = [tag for tag, _ in page.tags]
    assert not {"script", "link", "img", "iframe"} & set(names)
    for _, attributes in page.tags:
        for key in ("src", "href", "xlink:href"):
            assert (attributes.get(key) or "#").startswith("#")
    assert "url(http" not in text
    assert names.count("svg") == 1
    assert names.count("table") == 1
    assert "prefers-color-scheme: dark" in text
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags
    assert all(
        word in page.words for word in ("Sizes <of> things", "a|b", "<c>", "1.5 kB", "Before & after.", "The end.")
    )


def test_pictures_take_the_colour_of_the_text_and_are_the_same_every_time() -> None:
    assert PICTURE.picture is not None
    drawn = PICTURE.picture()
    assert drawn == PICTURE.picture()
    assert "currentColor" in drawn
    assert figures.INK not in drawn
    assert "accuracy" in drawn  # letters are letters


@pytest.mark.parametrize(
    "drawn",
    [
        lambda: figures.scatter([figures.Point("none", 0, 0.5, 0.4, 0.6), figures.Point("some", 9, 1, 1, 1)], "x", "y"),
        lambda: figures.scatter([figures.Point("none", 0, 0, 0, 0)], "x", "y"),
        lambda: figures.lines({"alone": [(1, 1)], **{str(i): [(0.5, i), (2, i)] for i in range(40)}}, "x", "y"),
        lambda: figures.lines({}, "x", "y"),
        lambda: figures.bars({"a": {"p": 1, "q": 2}, "b" * 60: {"q": 3}}, "x"),
        lambda: figures.bars({}, "x"),
        lambda: figures.graph([f"device-{i}" for i in range(100)], [("device-0", "device-99")]),
    ],
)
def test_pictures_of_little_and_of_much(drawn: Any) -> None:
    Page(drawn())


def test_csv_has_the_numbers_as_measured() -> None:
    lines = list(csv.DictReader(io.StringIO(formats.load(Path("x.csv")).render([TABLE, PICTURE], FINDING))))
    assert [tuple(line.values()) for line in lines] == [
        ("sizes", "a|b", "bytes", "1500"),
        ("sizes", "a|b", "share", "0.25"),
        ("sizes", "<c>", "bytes", "12"),
    ]


def test_markdown_is_a_table() -> None:
    text = formats.load(Path("x.md")).render([TABLE, PICTURE], FINDING)
    assert (
        "| thing | bytes | share |\n| --- | ---: | ---: |\n| a\\|b | 1.5 kB | 25% |\n| **<c>** | **12 B** |  |" in text
    )
    assert "Drawn" not in text


def test_the_terminal_says_it_too() -> None:
    console = Console(record=True, width=60, file=io.StringIO())
    document.show(console, [TABLE, PICTURE])
    text = console.export_text()
    assert all(word in text for word in ("Sizes <of> things", "a|b", "1.5 kB", "The end."))
    assert "Drawn" not in text


def test_a_narrow_terminal_loses_no_digit() -> None:
    console = Console(record=True, width=30, file=io.StringIO())
    numbers = [fixed(1234.5678, 4), fixed(0.123456, 6), fixed(98765.4321, 4)]
    wide = Section(
        "wide", "Wide", columns=("a-name-of-some-length", "x", "y", "z"), rows=[("compressed-federated *", *numbers)]
    )
    document.show(console, [wide])
    text = console.export_text()
    assert all(str(number) in text for number in numbers)


def test_numbers_for_people() -> None:
    texts = [str(n) for n in (count(999), count(1500), count(2.5e15), seconds(2), seconds(2.5e-3), seconds(4e-6))]
    assert texts == ["999", "1.5 k", "2.5 P", "2 s", "2.5 ms", "4 \N{MICRO SIGN}s"]
    assert fixed(1234.5678, 1) == Number(1234.5678, "1,234.6")


@pytest.mark.parametrize("name", commands.COMMANDS.names())
def test_every_command_is_whole(name: str) -> None:
    spec = commands.load(name)
    assert issubclass(spec.finding, Finding)
    assert spec.finding.model_fields["command"].default == name
    assert spec.text.endswith(".")
    parser = argparse.ArgumentParser()
    delivery.add_flags(parser, spec)
    assert "--report" in parser.format_help()


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("wire", "command 'odd' (what was registered): expected SPEC = CommandSpec(...), there is str"),
        (formats.load(Path("x.md")), "expected SPEC = CommandSpec(...), there is FormatSpec"),
        (commands.load("wire"), "its finding says that it is of the command 'wire'"),
    ],
)
def test_a_command_without_a_whole_spec(spec: object, complaint: str) -> None:
    plugins.register(commands.COMMANDS.package, "odd", spec)
    try:
        with pytest.raises(ConfigError) as raised:
            commands.load("odd")
    finally:
        commands.COMMANDS.unregister("odd")
    assert complaint in str(raised.value)


def test_a_misspelt_field_of_a_spec_is_no_spec() -> None:
    whole = commands.load("wire")
    fields = {field.name: getattr(whole, field.name) for field in dataclasses.fields(whole)}
    with pytest.raises(ValidationError, match="sektions"):
        CommandSpec(**{"sektions" if name == "sections" else name: value for name, value in fields.items()})


def test_results_become_one_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--rounds", "2", "--devices", "3", "--model", "zoo:mlp:8", "--protocols", "isolated,d-psgd"]
    assert call(monkeypatch, "protocols", *words, "--workers", "1", "--json", "p.json", "--plots", "drawn") == 0
    assert call(monkeypatch, "wire", "--rows", "40", "--first", "2", "--rounds", "1", "--json", "w.json") == 0
    everything = ["--report", "all.html", "--report", "all.md", "--report", "all.csv", "--json", "all.json"]
    assert call(monkeypatch, "report", "p.json", "w.json", *everything) == 0
    page = Page(Path("all.html").read_text())
    anchors = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert anchors == ["protocols", "pareto", "accuracy", "consensus", "topology", "flops", "memory", "codings-10"]
    assert {path.stem for path in Path("drawn").iterdir()} == set(anchors) - {"protocols", "codings-10"}
    payload = {x["protocol"]: x["payload_bytes"] for x in json.loads(Path("p.json").read_text())["lines"]}
    rows = list(csv.DictReader(io.StringIO(Path("all.csv").read_text())))
    (value,) = [float(r["value"]) for r in rows if (r["row"], r["column"]) == ("d-psgd *", "payload")]
    assert value == payload["d-psgd"]
    assert call(monkeypatch, "report", "all.json", "--report", "again.html") == 0
    assert Page(Path("again.html").read_text()).words == page.words
    capsys.readouterr()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot read in.json: No such file"),
        ("{", "in.json is not JSON"),
        ("[]", "in.json does not say which edge-bench command wrote it (its key 'command' is None)"),
        ('{"command": "dance"}', "(its key 'command' is 'dance')"),
        ('{"command": "wire"}', "in.json: streams: Field required; expected what edge-bench wire writes now"),
        ('{"command": "report", "findings": [{"command": "dance"}]}', "(its key 'command' is 'dance')"),
    ],
)
def test_what_is_no_result(
    content: str | None,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("in.json").write_text(content)
    words = ["report", "in.json", "--report", "out.html"]
    assert complaint in refusal(cli.main, "edge-bench", words, monkeypatch, capsys)
    assert not Path("out.html").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--report", "out.pdf"], "--report out.pdf: expected a name that ends in one of: .csv, .html, .md"),
        (["--report", "no/out.html"], "--report no/out.html: there is no folder no"),
        ([], "say where to: --report OUT.html, or --json OUT.json"),
    ],
)
def test_where_no_report_can_go(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert complaint in refusal(cli.main, "edge-bench", ["report", "in.json", *words], monkeypatch, capsys)
