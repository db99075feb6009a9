"""The report of a study, through the page: that one file of that one run, and nothing that it may ask for."""

from __future__ import annotations

from collections.abc import Callable

from tornado.web import RequestHandler

from ptydesign.errors import InputError
from ptydesign.web.access import LOGIN
from ptydesign.web.folder import Folder

ADDRESS, FILE = "/report", "report.html"
MOST_BYTES = 2**27
# A report may be a stranger's: in a sandbox it runs no script, and has an origin of its own, without the page's cookie.
POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; form-action 'none'"


def handler(folder: Folder, user: Callable[[RequestHandler], str | None]) -> type[RequestHandler]:
    """What answers /report?run=NAME. user: None for a stranger, who is sent to the login."""

    class Report(RequestHandler):
        def get(self) -> None:
            if user(self) is None:
                self.redirect(LOGIN)
                return
            self.set_header("Content-Security-Policy", POLICY)
            self.set_header("X-Content-Type-Options", "nosniff")
            self.set_header("Referrer-Policy", "no-referrer")
            try:
                path = folder.find(self.get_query_argument("run", "")) / FILE
                if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_BYTES:
                    raise InputError("report", "must be a file of the run", FILE, "Look at the run's page.")
                self.finish(path.read_bytes())
            except (InputError, OSError) as error:
                self.set_status(404)
                self.set_header("Content-Type", "text/plain; charset=utf-8")
                self.finish(str(error))

    return Report
