"""The command `serve`. Imports are inside it, as in `ptydesign.cli`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def serve(options: argparse.Namespace) -> None:
    """Show runs, studies and reconstructions of a folder in the browser, and explore plans there."""
    from ptydesign.web.server import Listen
    from ptydesign.web.server import serve as run

    password = os.environ.get("PTYDESIGN_PASSWORD") or None
    run(options.folder, Listen(options.address, options.port, password, options.proxy), not options.no_browser)


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Register the command."""
    one = commands.add_parser("serve", help=serve.__doc__, description=serve.__doc__)
    one.add_argument("folder", type=Path, nargs="?", default=Path("."), help="folder to show (default: this one)")
    one.add_argument("--port", type=int, default=5757, help="port to listen at; 0: any free one (default: 5757)")
    one.add_argument("--address", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine)")
    one.add_argument("--proxy", metavar="HOST", help="host[:port] of a proxy in front that asks who is there")
    one.add_argument("--no-browser", action="store_true", help="don't open the browser")
    one.set_defaults(run=serve)
