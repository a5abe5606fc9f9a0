"""A folder as an ext4 file that is the same for the same folder: `mkfs.ext4 -d`, without what it takes from the moment.

    python ext4.py FOLDER FILE MEGABYTES UUID SECONDS

mkfs.ext4 1.47.0 puts the moments at which this machine last touched a file into inodes: debugfs puts them right. What
is mounted below FOLDER is left out, and what is in its tmp.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path


def build(folder: Path, file: Path, megabytes: int, uuid: str, moment: int) -> None:
    """Make the file.

    Args:
        folder: becomes the root of the file system.
        file: to make.
        megabytes: of the file system.
        uuid: of the file system.
        moment: seconds since 1970; no file is newer.

    Raises:
        CalledProcessError: the folder does not fit, or a program is missing.
    """
    copy = file.with_suffix(".folder")
    subprocess.run(["cp", "-ax", str(folder), str(copy)], check=True)
    for leftover in (copy / "tmp").glob("*"):  # of the programs that run meanwhile
        leftover.unlink()
    paths = [copy, *copy.rglob("*")]
    for path in paths:
        if path.lstat().st_mtime > moment:
            os.utime(path, (moment, moment), follow_symlinks=False)
    environment = {**os.environ, "E2FSPROGS_FAKE_TIME": str(moment)}
    options = f"hash_seed={uuid},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
    command = ["mkfs.ext4", "-q", "-F", "-m", "0", "-U", uuid, "-E", options, "-d", str(copy), str(file)]
    subprocess.run([*command, f"{megabytes}M"], check=True, env=environment)
    names = ("ctime", "atime", "crtime")
    script = "".join(
        f'set_inode_field "/{path.relative_to(copy)}" {name} @{moment}\n' for path in sorted(paths) for name in names
    )
    command = ["debugfs", "-w", "-f", "-", str(file)]
    subprocess.run(command, input=script, text=True, check=True, env=environment, stdout=subprocess.DEVNULL)
    shutil.rmtree(copy)


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
