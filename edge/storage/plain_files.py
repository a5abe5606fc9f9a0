"""Files of somebody who is not trusted, handled by root: plain files only, and no symbolic link is ever followed.

A link in a folder that a less privileged user owns may name any file of the machine: root would copy its content to
that user, or give it away with `chown`. A second name (hard link) of a foreign file would do the same.
"""

import os
import pwd
import shutil
import stat
from pathlib import Path

from edge.errors import ConfigError


def copy(source: Path, target: Path) -> list[str]:
    """Copy the plain files and folders of a folder, with their times.

    Args:
        source: owned by somebody who is not trusted, and perhaps changed meanwhile.
        target: a new folder, of mode 0700 until the caller gives it away.

    Returns:
        What was left out: links, files with a second name, sockets, devices and pipes.

    Raises:
        OSError: a file cannot be read or written.
    """
    target.mkdir(mode=0o700)
    handle = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        return _copy(handle, target, "")
    finally:
        os.close(handle)


def _copy(folder: int, target: Path, prefix: str) -> list[str]:
    """Copy from an open folder: names are looked up in it, wherever it is by now."""
    left_out = []
    for name in sorted(os.listdir(folder)):
        about = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(about.st_mode):
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            try:
                (target / name).mkdir(mode=0o700)
                left_out += _copy(inner, target / name, f"{prefix}{name}/")
            finally:
                os.close(inner)
        elif not (stat.S_ISREG(about.st_mode) and about.st_nlink == 1 and _copy_file(folder, name, target / name)):
            left_out.append(f"{prefix}{name}")
    return left_out


def _copy_file(folder: int, name: str, target: Path) -> bool:
    """Copy one file; returns whether it still is a plain one, now that it is open."""
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    with os.fdopen(handle, "rb") as content:
        about = os.fstat(content.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
            return False
        with target.open("xb") as file:
            shutil.copyfileobj(content, file)
        os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))
    return True


def require(path: Path) -> None:
    """Check that a path is a plain file, and no link to one. Raises ConfigError: it is something else, or not there."""
    try:
        about = path.lstat()
    except OSError as reason:
        raise ConfigError(f"{path} cannot be read: {reason.strerror}") from None
    if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
        raise ConfigError(f"{path} is a link or a special file; a plain file was expected: remove it")


def give(folder: Path, user: str | None) -> None:
    """Make a folder readable by its user alone, the innermost first: what is given away may be changed at once."""
    owner = pwd.getpwnam(user) if user is not None else None
    for path in sorted([folder, *folder.rglob("*")], key=lambda path: len(path.parts), reverse=True):
        if path.is_symlink():
            raise ConfigError(f"{path} is a link: nothing was given away")
        path.chmod(0o700 if path.is_dir() else 0o600)
        if owner is not None:
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
