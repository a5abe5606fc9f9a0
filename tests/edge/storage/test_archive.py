"""Archives: what is packed comes back, without this machine's users."""

import io
import tarfile
from pathlib import Path

from edge.storage import archive


def test_what_is_packed_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "file").write_bytes(b"content")
    (folder / "link").symlink_to("/etc/passwd")
    entries: dict[str, Path | bytes] = {"tool": b"#!/bin/sh\n", "about.json": b"{}", "bundle": folder}
    for compress in (False, True):
        content = archive.pack(entries, compress=compress, epoch=5)
        assert (content[:2] == b"\x1f\x8b") == compress
        target = tmp_path / f"unpacked-{compress}"
        with tarfile.open(fileobj=io.BytesIO(content)) as members:
            assert members.getnames() == ["tool", "about.json", "bundle", "bundle/in", "bundle/in/file"]
            assert {(m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, "", "")}
            assert [(m.mode, m.mtime) for m in members][:2] == [(0o755, 5), (0o644, 5)]
            archive.unpack(members, target, 1000)
        assert (target / "bundle" / "in" / "file").read_bytes() == b"content"
    assert archive.pack({"a": b"x"}) == archive.pack({"a": b"x"})
