"""What a disk refuses is a sentence."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
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


WRITE = """
import sys
import numpy as np
from pathlib import Path
from ptydesign import files, io
from ptydesign.cli import main

path, mib = Path(sys.argv[1]), np.random.default_rng(0).integers(0, 2**16, (64, 128, 64)).astype("u2")
arrays = {"patterns": io.Array(mib, "counts", "position,ky,kx")}
arrays |= {f"history/{i}": io.Array(np.arange(50.0), "", "sweep") for i in range(20)}
MAKE_FULL
for packed in (True, False):
    try:
        io.write_hdf5(path, "dataset", arrays, {"words": "w" * 2000}, packed=packed)
    except files.InputError as error:
        print(error)
"""
RULE = "must fit on its disk (up to 1.0 MiB); got"


@contextmanager
def small_disk(folder, kib):
    """A disk of that size; skips where it can't be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True)
    except OSError:
        pytest.skip("no mount")
    if done.returncode:
        pytest.skip("may not mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def run_write(path, make_full=""):
    """(exit status, what is said, what is left in the folder) of two files of 1 MiB."""
    code = WRITE.replace("MAKE_FULL", make_full)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines() + done.stderr.splitlines(), sorted(path.parent.iterdir())


@pytest.mark.parametrize("kib", [4, 64, 640, 1024])
def test_an_hdf5_file_on_a_full_disk_is_a_sentence(tmp_path, kib):
    with small_disk(tmp_path / "small", kib) as folder:
        code, lines, left = run_write(folder / "out.h5")
    assert code == 0, lines
    assert [line.partition("out.h5: ")[2][: len(RULE)] for line in lines] == [RULE] * 2
    assert left == []
    assert all(f"got '{kib / 1024:.1f} MiB free'" in line or f"got '{kib}.0 KiB free'" in line for line in lines)


# The disk is full after so many bytes: of the first array, of the attributes after it, of what is written at the end.
@pytest.mark.parametrize("full_after", [0, 100, 3000, 700_000, 1_049_000, 1_060_000])
def test_hdf5_survives_a_disk_that_is_full_at_any_moment(tmp_path, full_after):
    make_full = f"""
import errno, io as streams
class Small(streams.FileIO):
    def write(self, data):
        if self.tell() + len(data) > {full_after}:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)
class Disk(files.Disk, Small): pass
from ptydesign import hdf5
hdf5.Disk = Disk
"""
    code, lines, left = run_write(tmp_path / "out.h5", make_full)
    assert code == 0, lines
    assert [RULE in line for line in lines] == [True, True]
    assert left == []


def test_a_limit_of_the_size_of_files_is_a_sentence(tmp_path):
    resource = pytest.importorskip("resource")
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, {resource.RLIM_INFINITY}))"
    code, lines, left = run_write(tmp_path / "out.h5", limit)
    assert code == 0, lines
    assert all("must be a file that can be written; got 'File too large'" in line for line in lines)
    assert len(lines) == 2
    assert left == []
