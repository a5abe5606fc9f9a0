"""What MkDocs cannot do by itself: pages from outside docs/, an API reference of every public module, and its examples.

Links in the repository are relative paths. README.md becomes the site's home page; CONTRIBUTING.md and CHANGELOG.md
become pages. A link to any other file outside docs/ leads to a copy of that file under source/.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from griffe import Extension, Module, Object
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
OUTSIDE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
PACKAGES = ("edge", "edge_sim", "export", "broker", "edge_report", "edge_bench")
EXAMPLE = re.compile(r"^( *)>>> .*\n(?:\1.+\n)*", re.MULTILINE)
DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\]\()([^)#:\s]+)(#[^)\s]*)?(\))")


class Docstrings(Extension):
    """Show examples in docstrings as code, and the arguments of dataclasses as their attributes."""

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Griffe does not count a top-level package among the objects."""
        self.on_object(obj=pkg)

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Fence the lines from ">>>" to the next blank one; rename "Args" where there is no `__init__` to be seen."""
        if obj.docstring and obj.is_class and "__init__" not in obj.members:
            obj.docstring.value = obj.docstring.value.replace("\nArgs:\n", "\nAttributes:\n")
        if obj.docstring and "Examples:" not in obj.docstring.value:
            text = EXAMPLE.sub(r"\1```pycon\n\g<0>\1```\n", f"{obj.docstring.value}\n")
            obj.docstring.value = text.rstrip("\n")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the API reference to the navigation: a section per package, a page per folder."""
    assert config.nav is not None
    config.nav.append({"API": [{name: [_page(folder) for folder in _folders(name)]} for name in PACKAGES]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and files that are not in docs/."""
    for source, target in OUTSIDE.items():
        files.append(File.generated(config, target, content=(ROOT / source).read_text()))
    for name in PACKAGES:
        for folder in _folders(name):
            files.append(File.generated(config, _page(folder), content=_reference(folder)))
    for source in sorted(_linked()):
        files.append(File.generated(config, f"source/{source}", abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    origin = {target: source for source, target in OUTSIDE.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    depth = page.file.src_uri.count("/")

    def moved(match: "re.Match[str]") -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), match[2]))
        return f"{match[1]}{'../' * depth}{_on_site(target)}{match[3] or ''}{match[4]}"

    if page.file.src_uri.startswith("api/"):
        return markdown
    return DIAGRAM.sub(_transitions, LINK.sub(moved, markdown))


def _transitions(match: "re.Match[str]") -> str:
    """A state diagram as a table: what draws one in a browser would have to be fetched, or is 3 MB."""
    names = {short: f"*{name}*" for name, short in re.findall(r'state "(.+?)" as (\w+)', match[1])}
    rows = re.findall(r"^ *(\w+) --> (\w+): (.+)$", match[1], re.MULTILINE)
    notes = re.findall(r"note \w+ of (\w+): (.+)", match[1])
    table = [f"| {names.get(a, a)} | {event} | {names.get(b, b)} |" for a, b, event in rows]
    table += [f"| {' '.join(note.split('<br>'))} | | {names.get(state, state)} |" for state, note in notes]
    return "\n".join(["| state | event | next state |", "|---|---|---|", *table, ""])


def _on_site(target: str) -> str:
    """Where a file of the repository is on the site."""
    if target in OUTSIDE:
        return OUTSIDE[target]
    return target.removeprefix("docs/") if target.startswith("docs/") else f"source/{target}"


def _linked() -> set[str]:
    """Files outside docs/ that some page links to."""
    pages = [ROOT / name for name in OUTSIDE] + sorted((ROOT / "docs").glob("*.md"))
    targets = {
        posixpath.normpath(posixpath.join(posixpath.dirname(page.relative_to(ROOT).as_posix()), match[2]))
        for page in pages
        for match in LINK.finditer(page.read_text())
    }
    return {t for t in targets - OUTSIDE.keys() if not t.startswith("docs/") and (ROOT / t).is_file()}


def _folders(package: str) -> list[Path]:
    """The package and its public subpackages."""
    folders = [path.parent for path in sorted((ROOT / package).rglob("__init__.py"))]
    return [folder for folder in folders if not any(part.startswith("_") for part in folder.relative_to(ROOT).parts)]


def _page(folder: Path) -> str:
    return f"api/{'.'.join(folder.relative_to(ROOT).parts)}.md"


def _reference(folder: Path) -> str:
    """A page with every public module of a folder."""
    package = ".".join(folder.relative_to(ROOT).parts)
    modules = [package, *(f"{package}.{path.stem}" for path in sorted(folder.glob("[!_]*.py")))]
    # The page's title is the name of the package already.
    heading = "    options: {show_root_heading: false, show_root_toc_entry: false}\n"
    return f"# {package}\n\n" + "\n".join(f"::: {module}\n{heading * (module == package)}" for module in modules)
