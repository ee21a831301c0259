"""The sign-in page: plain HTML without any other file, so that it needs no public routes but its own."""

from __future__ import annotations

from html import escape
from urllib.parse import urlencode

HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - ComfyOps</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0; min-height: 100vh; display: grid; place-items: center;
  background: #17181c; color: #eee }}
form {{ width: min(20rem, 90vw); display: grid; gap: .75rem }}
h1 {{ font-size: 1.4rem; margin: 0 }}
input, button {{ font: inherit; padding: .6rem; border-radius: .4rem; border: 1px solid #555; box-sizing: border-box;
  width: 100% }}
input {{ background: #222; color: #eee }}
button {{ background: #3b82f6; color: #fff; border: 0; cursor: pointer }}
p {{ margin: 0; color: #fca5a5 }}
a {{ display: block; margin-top: 1rem; padding: .6rem; border: 1px solid #555; border-radius: .4rem; color: #eee;
  text-align: center; text-decoration: none }}
</style></head><body><main>{content}</main></body></html>
"""

_SIGN_IN = """<form method="post" action="/auth/login">
<h1>Sign in</h1>{error}
<label>Name<input name="name" autocomplete="username" required autofocus maxlength="200"></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required maxlength="1024"></label>
<input type="hidden" name="next" value="{goal}"><button>Sign in</button>
</form>{provider}"""

_SET_UP = """<form method="post" action="/auth/setup">
<h1>The first administrator</h1>{error}
<label>One-time secret<input name="secret" type="password" autocomplete="off" required maxlength="200"></label>
<label>Name<input name="name" autocomplete="username" required maxlength="64"></label>
<label>Password<input name="password" type="password" autocomplete="new-password" required maxlength="1024"></label>
<button>Make the account</button>
</form>"""


def sign_in(goal: str = "/", error: str = "", provider: str = "") -> bytes:
    """The page; `goal` is where to go after it, `error` what went wrong before, `provider` who else vouches."""
    goal = safe_goal(goal)
    link = f"/auth/oidc/login?{urlencode({'next': goal})}"
    other = f'<a href="{escape(link, quote=True)}">Sign in with {escape(provider)}</a>' if provider else ""
    content = _SIGN_IN.format(goal=escape(goal, quote=True), error=_alert(error), provider=other)
    return _PAGE.format(title="Sign in", content=content).encode()


def set_up(error: str = "") -> bytes:
    """The page for the first administrator, who holds the one-time secret of `comfyops auth init`."""
    return _PAGE.format(title="First administrator", content=_SET_UP.format(error=_alert(error))).encode()


def _alert(error: str) -> str:
    return f'<p role="alert">{escape(error)}</p>' if error else ""


def safe_goal(goal: str) -> str:
    """A path on this host, "/" for anything else."""
    inside = goal.startswith("/") and not goal.startswith(("//", "/\\"))
    return goal if inside and len(goal) < 2000 and all(32 < ord(mark) < 127 for mark in goal) else "/"
