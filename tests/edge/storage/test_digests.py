"""Digests of files."""

import hashlib
from pathlib import Path

import pytest

from edge.storage import digests


def test_the_digest_of_a_file_is_that_of_its_content(tmp_path: Path) -> None:
    content = b"murmur" * 100_000
    (tmp_path / "file").write_bytes(content)
    assert digests.sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    with pytest.raises(FileNotFoundError):
        digests.sha256(tmp_path / "missing")
