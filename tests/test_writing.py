"""What a disk refuses is a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptydesign import files, io
from ptydesign.errors import InputError


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_sentence(tmp_path):
    with (
        pytest.raises(InputError, match=r"out.h5: must fit on its disk \(up to 3.0 MiB\); got '.* MiB free'") as caught,
        files.written(tmp_path / "out.h5", 3 * 2**20),
        open("/dev/full", "wb", buffering=0) as full,
    ):
        full.write(b"x" * 100)
    assert "run the same command again" in caught.value.mend


def test_the_error_of_a_library_tells_its_number_in_words(tmp_path):
    with pytest.raises(InputError, match="must fit on its disk"), files.written(tmp_path / "out.h5"):
        raise OSError("Can't write data (file write failed: errno = 28, error message = 'No space left on device')")


def test_more_room_than_there_is_isnt_tried(tmp_path):
    files.check_room(tmp_path, 1)
    with pytest.raises(InputError, match="must fit on its disk"):
        files.check_room(tmp_path, 2**60)
    with pytest.raises(InputError, match="must fit on its disk"):
        io.temporary_array((2**40, 2**20), "f8", tmp_path)


def test_a_folder_in_the_way_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="must be a file that can be written"):
        io.write_text(tmp_path / "file" / "below.txt", "x")
    with pytest.raises(InputError, match="must be a file that can be written"):
        io.write_text(tmp_path / ("x" * 300), "x")
