"""Who may see the page: whoever knows the token in its address, or the password. A cookie remembers it."""

from __future__ import annotations

import asyncio
import hmac
from html import escape

from bokeh.server.auth_provider import AuthProvider
from tornado.web import RequestHandler

COOKIE = "ptydesign"
LOGIN = "/login"
DAYS = 30  # that a browser remembers
GUESS_S = 1.0  # that a wrong password takes


class Access(AuthProvider):
    """Lets in who brings the secret: as `?token=...` in an address, in the login's form, or in the cookie that either
    of them sets. secret: a random token or the user's password; port: tells the cookies of two servers apart."""

    def __init__(self, secret: str, port: int):
        self._secret, self._cookie = secret, f"{COOKIE}-{port}"
        self._kept = hmac.new(secret.encode(), self._cookie.encode(), "sha256").hexdigest()  # not the password itself
        self.one_by_one = asyncio.Lock()
        super().__init__()

    @property
    def get_user(self):
        """A function of a request that gives a name, or None for a stranger."""

        def user(request: RequestHandler) -> str | None:
            given = request.get_query_argument("token", None)
            if given is not None and self.knows(given):
                self.remember(request)
                return "user"
            kept = request.get_cookie(self._cookie)
            return "user" if kept is not None and hmac.compare_digest(kept.encode(), self._kept.encode()) else None

        return user

    def knows(self, given: str) -> bool:
        """Whether that is the secret; takes the same time whatever is wrong with it."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._secret.encode())

    def remember(self, request: RequestHandler) -> None:
        """Set the cookie; scripts and other sites' pages can't use it."""
        try:
            request.set_cookie(self._cookie, self._kept, expires_days=DAYS, httponly=True, samesite="Strict")
        except (AttributeError, RuntimeError):  # a socket has no headers left to send
            return

    get_user_async = get_login_url = logout_url = logout_handler = None

    @property
    def login_url(self) -> str:
        """Where a stranger is sent."""
        return LOGIN

    @property
    def login_handler(self) -> type[RequestHandler]:
        """The page that asks for the secret."""
        access = self

        class Login(RequestHandler):
            def get(self) -> None:
                self.finish(_PAGE.format(words=""))

            async def post(self) -> None:
                if access.knows(self.get_body_argument("token", "")):
                    access.remember(self)
                    self.redirect("/")
                    return
                async with access.one_by_one:  # guesses take time, however many are made at once
                    await asyncio.sleep(GUESS_S)
                self.set_status(403)
                words = "That is not it. The address that `ptydesign serve` printed holds the token."
                self.finish(_PAGE.format(words=escape(words)))

        return Login


_PAGE = """<!doctype html><meta charset="utf-8"><title>ptydesign</title>
<style>body{{font:15px system-ui,sans-serif;max-width:26em;margin:14vh auto;color:#222}}
input{{font:inherit;padding:.4em;width:100%;box-sizing:border-box;margin:.6em 0}}button{{font:inherit;padding:.4em 1em}}
</style><h2>ptydesign</h2><p>This page needs the token that <code>ptydesign serve</code> printed, or its password.</p>
<form method="post"><input name="token" type="password" autofocus aria-label="token or password">
<button>Open</button></form><p style="color:#B03A00">{words}</p>"""
