"""The server: pages by address, who may see them, where it listens."""

from __future__ import annotations

import errno
import secrets
import socket
import sys
import traceback
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptydesign.errors import LONGEST, InputError, describe
from ptydesign.web.folder import Folder
from ptydesign.web.site import Site

LOCAL = ("127.0.0.1", "localhost", "::1")
LEAST_PASSWORD = 8  # characters


@dataclass(frozen=True)
class Listen:
    """Where and for whom. password: instead of a token; needed, or a proxy, for an address that others reach.
    proxy: the host (and port) under which a proxy that lets only the right people through shows the page."""

    address: str = "127.0.0.1"
    port: int = 5757
    password: str | None = None
    proxy: str | None = None

    def check(self) -> None:
        """Raise InputError for an address that others reach without a password or a proxy, and for a port in use."""
        if self.password is not None and len(self.password) < LEAST_PASSWORD:
            raise InputError("password", f"must have {LEAST_PASSWORD} characters or more", "fewer", "Choose another.")
        if self.address not in LOCAL and self.password is None and self.proxy is None:
            rule = "must be 127.0.0.1 unless the page has a password (PTYDESIGN_PASSWORD) or stands behind a --proxy"
            mend = "From another computer, `ssh -L 5757:127.0.0.1:5757 HOST` reaches this one."
            raise InputError("address", rule, self.address, mend)
        if not 0 <= self.port < 65536:
            raise InputError("port", "must lie in 0 ... 65535", self.port, "Give --port 5757, or 0 for any free one.")
        try:
            with socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind((self.address, self.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                mend = "Another server has it, perhaps one of these: give --port 0 for any free one."
                raise InputError("port", "must be free", self.port, mend) from None
            raise InputError("address", "must be one of this machine's", self.address, str(error)) from None


def make(folder: Path, listen: Listen):
    """(server, address to open) that is not started yet. Raises InputError."""
    site = Site(Folder(folder))
    listen.check()
    try:
        import panel as pn
    except ImportError:
        mend = "Install the extra: pip install 'ptydesign[web]'."
        raise InputError("panel", "must be installed for the page", "nothing", mend) from None
    import ptydesign.design.surrogate  # noqa: F401  so that no browser waits for it
    from ptydesign.commands import keep_compiled_code
    from ptydesign.web import report
    from ptydesign.web.access import Access
    from ptydesign.web.views import PAGES

    port = listen.port or _free_port(listen.address)
    token = listen.password or secrets.token_urlsafe(24)
    hosts = [f"{name}:{port}" for name in {listen.address, "127.0.0.1", "localhost"}]
    access = Access(token, port)
    keep_compiled_code()
    pn.config.notifications = False
    server = pn.serve(
        {slug: _bound(view, site) for slug, view in PAGES.items()},
        port=port,
        address=listen.address,
        websocket_origin=[*hosts, *([listen.proxy] if listen.proxy else [])],
        auth_provider=access,
        extra_patterns=[(report.ADDRESS, report.handler(site.folder, access.get_user))],
        show=False,
        start=False,
        verbose=False,
        title="ptydesign",
        unused_session_lifetime_milliseconds=20_000,
        check_unused_sessions_milliseconds=10_000,
    )
    query = "" if listen.password else f"?token={token}"
    return server, f"http://{_shown(listen.address)}:{port}/{query}"


def serve(folder: Path, listen: Listen, show: bool = True) -> None:
    """Serve until Ctrl-C."""
    server, address = make(folder, listen)
    print(f"Showing {Path(folder).resolve()} at {address}\n(Ctrl-C ends it; runs go on.)", file=sys.stderr, flush=True)
    if show:
        webbrowser.open(address)
    server.start()
    server.io_loop.asyncio_loop.set_exception_handler(_passed_over)
    server.io_loop.start()


def _passed_over(loop: Any, context: dict[str, Any]) -> None:
    """A browser that goes away while something is sent to it is no error."""
    from tornado.iostream import StreamClosedError
    from tornado.websocket import WebSocketClosedError

    if not isinstance(context.get("exception"), StreamClosedError | WebSocketClosedError):
        loop.default_exception_handler(context)


def _bound(view: Callable[[Site], Any], site: Site) -> Callable[[], Any]:
    """A function without arguments, as Panel takes them: a run whose files hold what none writes is a sentence."""

    def page() -> Any:
        try:
            return view(site)
        except Exception as error:
            from ptydesign.web.views import shell

            traceback.print_exc()
            words = f"This can't be shown: its files hold what no run writes ({describe(error)[:LONGEST]})."
            return shell.page("ptydesign", "", str(site.folder.path), shell.html(shell.error(words)))

    return page


def _free_port(address: str) -> int:
    with socket.socket() as one:
        one.bind((address, 0))
        return one.getsockname()[1]


def _shown(address: str) -> str:
    return f"[{address}]" if ":" in address else address
