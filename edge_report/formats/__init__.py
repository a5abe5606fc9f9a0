"""Formats of reports, one file each, named by the ending of the files they write. Each has a `SPEC` (`FormatSpec`).

>>> load(Path("report.md")).render.__module__
'edge_report.formats.md'
"""

from pathlib import Path

from edge.errors import ConfigError
from edge_report.finding import Environment
from edge_report.specs import FORMATS, FormatSpec


def load(path: Path) -> FormatSpec:
    """Return the format for a file of this name. Raises ConfigError: no format has its ending."""
    known = FORMATS.names()
    if path.suffix[1:] not in known:
        raise ConfigError(f"--report {path}: expected a name that ends in one of: {', '.join('.' + k for k in known)}")
    return FORMATS.load(path.suffix[1:])


def setting(environment: Environment) -> str:
    """Say in one line where something was measured."""
    memory = f", {environment.memory_bytes / 1e9:.0f} GB" if environment.memory_bytes else ""
    cores = f"{environment.cores} core" + "s" * (environment.cores > 1)
    governor = environment.governor or "clock governor unknown"
    packages = " ".join(f"{name} {version}" for name, version in environment.packages.items())
    commit = f", commit {environment.commit}" if environment.commit else ""
    return (
        f"{environment.cpu} ({environment.machine}), {cores}{memory}, {governor}; {environment.system}, "
        f"Python {environment.python}, {packages}{commit}"
    )
