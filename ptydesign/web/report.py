"""The pages and tables of a run, through the page: these files of that one run, and nothing that they may ask for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tornado.web import RequestHandler

from ptydesign.errors import InputError
from ptydesign.web.access import LOGIN
from ptydesign.web.folder import Folder

ADDRESS = "/report"
PAGES = {"report.html": "its report", "sheet.html": "its sheet"}  # files of a run, and what a link to one says
TABLE = re.compile(r"tables/[\w-]+\.csv")
MOST_BYTES = 2**27
# A report may be a stranger's: in a sandbox it runs no script, and has an origin of its own, without the page's cookie.
POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; form-action 'none'"
# So its links to files beside it would lead to the login: they aren't links here.
BESIDE = re.compile(rb'<a href="(?:[a-z]+\.html|tables/[^"]*)">')


def files_of(run: Path) -> dict[str, str]:
    """Files of a run that can be looked at, and what a link to each says: its pages, and its tables."""
    tables = sorted(f"tables/{path.name}" for path in (run / "tables").glob("*.csv"))
    found = PAGES | {name: name.partition("/")[2] for name in tables if TABLE.fullmatch(name)}
    return {name: words for name, words in found.items() if (run / name).is_file()}


def handler(folder: Folder, user: Callable[[RequestHandler], str | None]) -> type[RequestHandler]:
    """What answers /report?run=NAME&file=FILE. user: None for a stranger, who is sent to the login."""

    class Report(RequestHandler):
        def get(self) -> None:
            if user(self) is None:
                self.redirect(LOGIN)
                return
            self.set_header("Content-Security-Policy", POLICY)
            self.set_header("X-Content-Type-Options", "nosniff")
            self.set_header("Referrer-Policy", "no-referrer")
            try:
                run, file = self.get_query_argument("run", ""), self.get_query_argument("file", "report.html")
                path = folder.find(run) / file
                known = file in PAGES or TABLE.fullmatch(file)
                if not known or path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_BYTES:
                    raise InputError("report", "must be a file of the run", file, "Look at the run's page.")
                content = path.read_bytes()
                if file not in PAGES:
                    self.set_header("Content-Type", "text/plain; charset=utf-8")
                self.finish(BESIDE.sub(b"<a>", content) if file in PAGES else content)
            except (InputError, OSError) as error:
                self.set_status(404)
                self.set_header("Content-Type", "text/plain; charset=utf-8")
                self.finish(str(error))

    return Report
