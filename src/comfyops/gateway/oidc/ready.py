"""Whether sign-in by a provider can work here, before anybody tries."""

from __future__ import annotations

from importlib.util import find_spec

from comfyops.auth.store import Store
from comfyops.config import OidcSettings
from comfyops.errors import MissingExtraError, UsageError


def check_oidc(oidc: OidcSettings, store: Store) -> None:
    """See that what it needs is installed, and that its roles exist. Raises MissingExtraError and UsageError."""
    if not (find_spec("authlib") and find_spec("joserfc")):
        hint = "Install it with: pip install 'comfyops[server,oidc]'."
        raise MissingExtraError("Sign-in by a provider needs the extra `oidc`.", hint=hint)
    known = store.roles.all()
    for value, role in oidc.roles:
        if role not in known:
            words = f"COMFYOPS_OIDC_ROLE_MAP gives {value[:60]!r} the role {role[:60]!r}, which there is not."
            raise UsageError(words, hint=f"There are {', '.join(known)}.")
