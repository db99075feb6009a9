"""Where the page listens, and for whom."""

from __future__ import annotations

import socket

import pytest

from ptydesign.cli import main
from ptydesign.errors import InputError
from ptydesign.web.server import Listen


def test_a_port_in_use_says_so(tmp_path, capsys):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        assert main(["serve", str(tmp_path), "--port", str(port), "--no-browser"]) == 2
    said = capsys.readouterr().err
    assert f"port: must be free; got {port}" in said
    assert "--port 0" in said


@pytest.mark.parametrize("listen", [
    Listen("0.0.0.0"), Listen(port=70000), Listen(password="short"), Listen("203.0.113.1", password="long enough"),
])  # fmt: skip
def test_what_would_be_open_or_impossible_is_refused(listen):
    with pytest.raises(InputError):
        listen.check()


@pytest.mark.parametrize("listen", [
    Listen(port=0), Listen("0.0.0.0", 0, password="long enough"), Listen("0.0.0.0", 0, proxy="lab.example.org"),
])  # fmt: skip
def test_what_is_guarded_is_allowed(listen):
    listen.check()


def test_a_folder_that_is_none_is_refused(tmp_path, capsys):
    assert main(["serve", str(tmp_path / "nothing"), "--no-browser"]) == 2
    assert "folder: must be a folder" in capsys.readouterr().err
