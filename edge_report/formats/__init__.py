"""Files for people, one kind each, named by its ending. A module has `render(sections, finding) -> text`."""

from pathlib import Path
from typing import Any

from edge import plugins
from edge.errors import ConfigError
from edge_report.finding import Environment

PACKAGE = "edge_report.formats"


def load(path: Path) -> Any:
    """The module for a file of this name. Raises ConfigError."""
    known = plugins.names(PACKAGE)
    if path.suffix[1:] not in known:
        raise ConfigError(f"--report {path}: expected a name that ends in one of: {', '.join('.' + k for k in known)}")
    return plugins.load(PACKAGE, path.suffix[1:])


def setting(environment: Environment) -> str:
    """Where it was measured, in a line."""
    memory = f", {environment.memory_bytes / 1e9:.0f} GB" if environment.memory_bytes else ""
    cores = f"{environment.cores} core" + "s" * (environment.cores > 1)
    governor = environment.governor or "clock's governor unknown"
    packages = " ".join(f"{name} {version}" for name, version in environment.packages.items())
    commit = f", commit {environment.commit}" if environment.commit else ""
    return (
        f"{environment.cpu} ({environment.machine}), {cores}{memory}, {governor}; {environment.system}, "
        f"Python {environment.python}, {packages}{commit}"
    )
