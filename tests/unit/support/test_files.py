"""Files are written whole, in the place of files only."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from comfyops.auth.secrets import private_files
from comfyops.errors import StorageError
from comfyops.support import files


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such files in folders")
@pytest.mark.parametrize("write", [files.write_bytes, private_files.write])
def test_a_pipe_is_never_replaced_by_a_file(tmp_path: Path, write: object) -> None:
    """Root could so put a file in the place of /dev/null."""
    assert callable(write)
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(StorageError, match="device or a pipe"):
            write(path, b"x")
    assert stat.S_ISFIFO(pipe.stat().st_mode) and sorted(tmp_path.iterdir()) == [link, pipe]


def test_a_file_takes_the_place_of_another_and_not_of_a_folder(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "a" / "b", b"1")
    files.write_bytes(tmp_path / "a" / "b", b"2")
    assert (tmp_path / "a" / "b").read_bytes() == b"2"
    with pytest.raises(StorageError):
        files.write_bytes(tmp_path / "a", b"3")
    assert list((tmp_path / "a").iterdir()) == [tmp_path / "a" / "b"]
