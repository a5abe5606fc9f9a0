"""Writing cards: what is refused, what is written, and that a card that lies is found out."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import ConfigError
from firmware_scripts import disks, flash
from firmware_scripts.disks import Disk
from tests.refusals import refusal

SIZE = 3 * flash.BLOCK + 12345


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "card.img"
    path.write_bytes(np.random.default_rng(0).bytes(SIZE))
    return path


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "card"
    path.write_bytes(b"\xaa" * (SIZE + 4096))
    return path


def call(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["flash", *map(str, words)])
    return flash.main()


def lsblk(**changes: Any) -> str:
    """A USB card reader with a card of 32 GB."""
    device = {
        "path": "/dev/sdb",
        "type": "disk",
        "rm": True,
        "hotplug": True,
        "ro": False,
        "size": 31_914_983_424,
        "model": "SD Reader ",
        "tran": "usb",
        "mountpoints": [None],
        **changes,
    }
    return json.dumps({"blockdevices": [device]})


SYSTEM = {"path": "/dev/nvme0n1", "rm": False, "hotplug": False, "tran": "nvme", "model": "Fast 1T"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"path": "/dev/mmcblk0", "rm": False, "hotplug": False, "tran": None, "model": None}, None),
        (SYSTEM, "/dev/nvme0n1 (Fast 1T) is built in; only cards and sticks are written"),
        ({"type": "part", "path": "/dev/sdb1"}, "/dev/sdb1 is a part of a disk; name the whole disk"),
        ({"mountpoints": ["/media/card"]}, "/dev/sdb is in use (/media/card); unmount it"),
        ({"children": [{"mountpoints": [None, "/boot"]}, {"mountpoints": ["[SWAP]"]}]}, "in use (/boot, [SWAP])"),
        ({"children": [{"mountpoints": [None], "children": [{"mountpoints": ["/"]}]}]}, "in use (/)"),
        ({"ro": True}, "/dev/sdb cannot be written (a card's lock, or its owner)"),
        ({"size": 1000}, "/dev/sdb has 1,000 bytes, the image 2,000"),
    ],
)
def test_what_is_written_and_what_is_not(changes: dict[str, Any], why: str | None) -> None:
    reason = disks.refusal(disks.parsed(lsblk(**changes)), 2000)
    assert reason is None if why is None else why in str(reason)


def test_a_card_is_called_by_its_model_and_size() -> None:
    assert str(disks.parsed(lsblk())) == "/dev/sdb, SD Reader, 31.9 GB"


def test_all_of_it_is_written_and_read_back(image: Path, card: Path) -> None:
    progress: dict[str, int] = {}
    digest = flash.flash(
        image, disks.describe(card), lambda what, n: progress.update({what: progress.get(what, 0) + n})
    )
    assert card.read_bytes() == image.read_bytes() + b"\xaa" * 4096
    assert progress == {"writing": SIZE, "comparing": SIZE}
    assert len(digest) == 64


def test_only_what_the_block_map_names_is_written(image: Path, card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    (image.parent / "card.img.bmap").write_text(
        f"<bmap version='2.0'><ImageSize> {SIZE} </ImageSize><BlockSize> 4096 </BlockSize>"
        "<BlockMap><Range> 0-1 </Range><Range> 5 </Range><Range> 3074-3075 </Range></BlockMap></bmap>"
    )
    flash.flash(image, disks.describe(card))
    written, whole = card.read_bytes(), image.read_bytes()
    for begin, end in ((0, 8192), (5 * 4096, 6 * 4096), (3074 * 4096, SIZE)):
        assert written[begin:end] == whole[begin:end]
    assert set(written[8192 : 5 * 4096]) == {0xAA}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<bmap", "is no block map"),
        ("<bmap><ImageSize>5</ImageSize><BlockSize>4096</BlockSize></bmap>", "is about an image of 5 bytes"),
        ("<bmap><BlockSize>x</BlockSize></bmap>", "is no block map"),
    ],
)
def test_a_block_map_of_something_else(text: str, complaint: str, image: Path, card: Path) -> None:
    (image.parent / "card.img.bmap").write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        flash.flash(image, disks.describe(card))
    assert set(card.read_bytes()) == {0xAA}


@pytest.mark.parametrize("at", [0, flash.BLOCK, SIZE - 1])
def test_a_card_that_lies_is_found_out(at: int, image: Path, card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = flash.write

    def forgets(source: Path, target: Path, advance: flash.Advance) -> None:
        whole(source, target, advance)
        with target.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 1]))

    monkeypatch.setattr(flash, "write", forgets)
    with pytest.raises(
        ConfigError, match=f"does not hold what was written, from byte {at // flash.BLOCK * flash.BLOCK:,}"
    ):
        flash.flash(image, disks.describe(card))


def test_it_asks(image: Path, card: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    assert call(monkeypatch, image, card) == 2
    printed = capsys.readouterr()
    assert "nothing was written" in printed.err
    assert f"Everything on {card}, a file, 0.0 GB will be lost. Type {card} to go on:" in printed.err
    assert set(card.read_bytes()) == {0xAA}
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{card}\n"))
    assert call(monkeypatch, image, card, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["written"]
    assert result["bytes"] == SIZE
    assert card.read_bytes().startswith(image.read_bytes())


def test_a_dry_run_writes_nothing(image: Path, card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, image, card, "--dry-run") == 0
    assert set(card.read_bytes()) == {0xAA}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["none.img", "card"], "none.img: there is no such image"),
        (["card.img.zst", "card"], "card.img.zst is compressed; unpack it first"),
        (["card.img", "none"], "none: No such file or directory; name a device"),
        (["card.img", "/dev/null"], "/dev/null is neither a block device nor a file"),
        (["card.img", "small"], "small has 5 bytes, the image"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str],
    complaint: str,
    image: Path,
    card: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(image.parent)
    Path("card.img.zst").touch()
    Path("small").write_bytes(bytes(5))
    assert complaint in refusal(flash.main, "flash", [*words, "--yes"], monkeypatch, capsys)
    assert set(card.read_bytes()) == {0xAA}


def test_a_disk_that_goes_away(image: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="while writing; what is on it now is worth nothing"):
        flash.flash(image, Disk(tmp_path / "gone", "file", SIZE, removable=True))
