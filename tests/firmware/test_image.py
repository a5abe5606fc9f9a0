"""Images made from parts that are made up: their layout, that they are the same each time, and U-Boot on them.

The real parts, and all that runs on them, are the business of `make image-test`.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.storage.digests import sha256
from firmware_scripts import board as boards
from firmware_scripts import build, flash, image, initrd, rootfs, virtual
from firmware_scripts.rootfs import Slot
from tests.refusals import refusal

EPOCH = 1_700_000_000
DISK = "0123abcd"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions of a size that a test has time for."""
    monkeypatch.setattr(image, "FAT", 40)
    monkeypatch.setattr(image, "MEGABYTES", 16)


def slot_for(name: str, folder: Path) -> Slot:
    """With made-up files wherever the board wants some."""
    spec = boards.load(name)
    boot = folder / "boot"
    for number, path in enumerate([*spec.boot.values(), *spec.raw.values()]):
        (boot / path).parent.mkdir(parents=True, exist_ok=True)
        (boot / path).write_bytes(f"{path} ".encode() * (1000 + number))
    boot.mkdir(exist_ok=True)
    (folder / "rootfs.img").write_bytes(b"a system" * 100_000)
    return Slot(folder / "rootfs.img", boot)


def assembled(name: str, folder: Path) -> Path:
    folder.mkdir()
    slot = slot_for(name, folder)
    image.assemble(boards.load(name), slot, DISK, folder / "card.img", EPOCH)
    return folder / "card.img"


def listed(card: Path) -> set[str]:
    done = subprocess.run(["mdir", "-b", "-i", f"{card}@@{boards.LOADERS}"], capture_output=True, text=True, check=True)
    return {line.removeprefix("::/") for line in done.stdout.splitlines()}


@pytest.mark.parametrize("name", ["rpi4", "rock64"])
def test_layout(name: str, tmp_path: Path) -> None:
    card, spec = assembled(name, tmp_path / "one"), boards.load(name)
    table = json.loads(subprocess.run(["sfdisk", "--json", card], capture_output=True, check=True).stdout)
    parts = table["partitiontable"]["partitions"]
    assert [part["size"] * 512 >> 20 for part in parts] == [40, 16, 16, 64]
    assert parts[0]["start"] * 512 == boards.LOADERS
    assert parts[0]["bootable"]
    assert listed(card) == {"boot.scr", *spec.boot, *spec.text}
    with card.open("rb") as content:
        for at, path in spec.raw.items():
            content.seek(at)
            assert content.read(len(path)) == path.encode()
        content.seek(parts[1]["start"] * 512)
        assert content.read(8) == b"a system"
    mapped = sum(end - begin for begin, end in flash.ranges(card))
    assert mapped < 20 << 20 < card.stat().st_size
    again = assembled(name, tmp_path / "two")
    assert sha256(again) == sha256(card)
    assert sha256(again.with_name("card.img.bmap")) == sha256(card.with_name("card.img.bmap"))


def test_uboot_takes_the_other_slot_after_three_tries(tmp_path: Path) -> None:
    """The real U-Boot, with slots that hold nothing that starts: A three times, B three times, and all over again."""
    card = assembled("virt", tmp_path / "image")
    with virtual.inserted(card, tmp_path) as board:
        board.on()
        output = board.until("all over again", 120)
        output += board.until("slot A, tries left: A 2, B 3", 60)
    tries = re.findall(r"murmur: slot ([AB]), tries left: A (\d), B (\d)", output)
    left = [(2, 3), (1, 3), (0, 3), (0, 2), (0, 1), (0, 0), (2, 3)]
    assert [(slot, int(a), int(b)) for slot, a, b in tries] == [
        (slot, *count) for slot, count in zip("AAABBBA", left, strict=True)
    ]


def test_uboot_with_a_torn_environment(tmp_path: Path) -> None:
    """As a power cut leaves it: its checksum is wrong, and the defaults hold."""
    card = assembled("virt", tmp_path / "image")
    (tmp_path / "torn").write_bytes(b"BOOT_ORDER=B A\0" + bytes(0x3000) + b"\xff" * 0x0FF1)
    with virtual.inserted(card, tmp_path) as board:
        board.put(tmp_path / "torn", "murmur.env")
        board.on()
        board.until("murmur: slot A, tries left: A 2, B 3", 60)


@pytest.mark.parametrize("name", boards.names())
def test_nothing_is_left_to_fill_in(name: str, tmp_path: Path) -> None:
    spec = boards.load(name)
    assert not re.search("@[A-Z_]+@", image.script(spec))
    overlay = tmp_path / "overlay.tar"
    overlay.write_bytes(rootfs.overlay(spec, name, "1", DISK, EPOCH))
    shutil.unpack_archive(overlay, tmp_path / "root", filter="data")
    for path in (tmp_path / "root").rglob("*"):
        if path.is_file():
            assert not re.search("@[A-Z_]+@", path.read_text()), path
    about = json.loads((tmp_path / "root/etc/murmur/image.json").read_text())
    assert about["compatible"] == spec.compatible
    assert f"compatible=murmur-{name}\n" in (tmp_path / "root/etc/rauc/system.conf").read_text()


def test_an_update_finds_the_slots_of_an_older_card(tmp_path: Path) -> None:
    """Whatever version it is of: a card keeps the partition table that it was written with."""
    spec = boards.load("rpi4")
    disk, texts = build.signature("rpi4"), []
    for version in ("1", "2"):
        overlay = tmp_path / f"{version}.tar"
        overlay.write_bytes(rootfs.overlay(spec, "rpi4", version, disk, EPOCH))
        shutil.unpack_archive(overlay, tmp_path / version, filter="data")
        texts.append((tmp_path / version / "etc/rauc/system.conf").read_text())
    assert texts[0] == texts[1]
    assert texts[0].count(f"/dev/disk/by-partuuid/{disk}-") == 2


@pytest.mark.parametrize("script", sorted((rootfs.HERE / "system/root/usr/lib/murmur").iterdir()), ids=lambda p: p.name)
def test_scripts_are_shells(script: Path) -> None:
    subprocess.run(["sh", "-n", str(script)], check=True)


def test_first_programs(tmp_path: Path) -> None:
    """The modules for disks and what they need, their tables, and nothing else; the same bytes each time."""
    root = tmp_path / "root"
    folder = root / "lib/modules/6.1"
    names = ("drivers/mmc/host/card", "drivers/gpu/screen", "fs/ext4/ext4", "lib/crc16", "drivers/mmc/core/queue")
    for name in names:
        (folder / f"kernel/{name}.ko").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"kernel/{name}.ko").write_text(name)
    (folder / "modules.dep").write_text(
        "kernel/drivers/mmc/host/card.ko: kernel/drivers/mmc/core/queue.ko\nkernel/drivers/gpu/screen.ko:\n"
        "kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko\nkernel/lib/crc16.ko:\nkernel/drivers/mmc/core/queue.ko:\n"
    )
    (folder / "modules.alias").write_text("alias of:card card\nalias of:screen screen\n")
    for name in ("modules.softdep", "modules.builtin"):
        (folder / name).touch()
    (root / "bin").mkdir()
    (root / "bin/busybox").write_text("busybox")
    init = rootfs.HERE / "system" / "init"
    first = initrd.build(root, init)
    assert first == initrd.build(root, init)
    (tmp_path / "initrd.gz").write_bytes(first)
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.run(f"gzip -dc {tmp_path}/initrd.gz | cpio --quiet -id", shell=True, check=True, cwd=unpacked)
    modules = {path.stem for path in unpacked.rglob("*.ko")}
    assert modules == {"card", "queue", "ext4", "crc16"}
    assert (unpacked / "lib/modules/6.1/modules.alias").read_text() == "alias of:card card\n"
    assert (unpacked / "init").stat().st_mode & 0o777 == 0o755
    (root / "bin/busybox").unlink()
    with pytest.raises(ConfigError, match="expected busybox-static and one kernel's modules"):
        initrd.build(root, init)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--board", "rpi9"], "--board rpi9: there are: rock64, rpi3, rpi4"),
        (["--board", "rpi4", "-o", "there.img"], "there.img is there already"),
        (["--board", "rpi4", "-o", "none/x.img"], "there is no folder none"),
        (["--board", "rpi4", "--update", "none"], "--update none: has no signer.crt"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.img").touch()
    assert complaint in refusal(build.main, "build", ["-o", "card.img", *words], monkeypatch, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["there.img"]


def test_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    """Before anything else, with the one command that helps."""
    assert (
        "apt-get install --no-install-recommends mmdebstrap arch-test qemu-user-static binfmt-support mtools"
        in refusal(build.main, "build", ["--board", "virt", "-o", str(tmp_path / "card.img")], monkeypatch, capsys)
    )
    assert list(tmp_path.iterdir()) == []


def test_an_ext4_file_is_the_same_for_the_same_folder(tmp_path: Path) -> None:
    """Whenever its files were made, and in whatever order."""
    digests = []
    for order in (1, -1):
        folder, file = tmp_path / f"folder{order}", tmp_path / f"file{order}"
        folder.mkdir()
        for number in range(40)[::order]:
            (folder / f"name {number}").write_text(str(number))
            (folder / f"link {number}").symlink_to(f"name {number}")
        uuid = "11111111-1111-4111-8111-111111111111"
        script = rootfs.HERE / "ext4.py"
        subprocess.run([sys.executable, script, folder, file, "8", uuid, str(EPOCH)], check=True)
        digests.append(sha256(file))
    assert digests[0] == digests[1]
