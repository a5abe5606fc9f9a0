"""The documentation site: it builds without a warning, asks nothing of the outside, and has every public module."""

import os
import re
import subprocess
import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("edge", "edge_sim", "export", "broker", "edge_report", "edge_bench")
FETCHED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}
"""What a browser loads by itself, by tag; an <a> is followed only when somebody clicks on it."""
ELSEWHERE = re.compile(r"(?:[a-z]+:)?//", re.IGNORECASE)


class Html(HTMLParser):
    """The ids of a page, what it loads, and where it links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids |= {value for key in ("id", "name") if (value := values.get(key))}
        if tag in FETCHED and values.get("rel") != "canonical" and (target := values.get(FETCHED[tag])):
            self.loads.append(target)
        elif tag == "a" and (target := values.get("href")):
            self.links.append(target)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    build = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert build.returncode == 0, build.stdout + build.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Html]:
    """Every page of the site; 404.html is for web servers, whose root it links to."""
    return {path: Html(path.read_text()) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


def test_nothing_is_loaded_from_outside(site: Path, pages: dict[Path, Html]) -> None:
    outside = {(path.name, target) for path, html in pages.items() for target in html.loads if ELSEWHERE.match(target)}
    for path in site.rglob("*.css"):
        for target in re.findall(r"""(?:url\(|@import )\s*["']?([^"')\s;]+)""", path.read_text()):
            if ELSEWHERE.match(target):
                outside.add((path.name, target))
    assert not outside


def test_every_link_leads_somewhere(pages: dict[Path, Html]) -> None:
    broken = defaultdict(list)
    for path, html in pages.items():
        for link in [*html.links, *html.loads]:
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = unquote(link).partition("#")
            target = (path.parent / name).resolve() if name else path
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].ids):
                broken[path.name].append(link)
    assert not broken


def test_the_api_reference_has_every_public_module(pages: dict[Path, Html]) -> None:
    ids = {name for path, html in pages.items() if path.parent.name == "api" for name in html.ids}
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if not any(part.startswith("_") for part in path.relative_to(ROOT).parts)
    }
    assert modules
    assert not modules - ids


def test_search_knows_the_pages_and_the_docstrings(site: Path) -> None:
    index = (site / "search" / "search_index.json").read_text()
    assert "Compute Metropolis weights" in index
    assert "make demo" in index


def test_examples_in_docstrings_are_shown_as_code(pages: dict[Path, Html]) -> None:
    """An example that does not stand under "Examples:" would be taken for a quotation."""
    quoted = [path.name for path in pages if re.search(r"(<blockquote>\s*){3}", path.read_text())]
    assert not quoted
