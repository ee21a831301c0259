"""The public registry of packs: the repository and the newest version of a pack that only its name is known of.

Source: `GET /nodes/{id}` of the Comfy registry: `repository`, and `latest_version` with `version`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp

from comfyops.deploy.packs.request import check_url
from comfyops.errors import NodePackError, UsageError

_WAIT = aiohttp.ClientTimeout(total=30)
_VERSION = re.compile(r"[0-9][\w.+-]{0,99}")
_MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Listed:
    """What the registry says of a pack ("" = nothing): its repository, its newest version."""

    name: str
    url: str
    version: str


@dataclass(frozen=True)
class Registry:
    """The registry at an address."""

    address: str
    offline: bool = False

    async def look_up(self, name: str) -> Listed | None:
        """What is known of a pack, None where it is not listed.

        Raises NodePackError where the registry cannot be asked or answers nonsense.
        """
        if self.offline:
            raise NodePackError("The registry of packs is not asked while offline.", hint=_HINT)
        url = f"{self.address.rstrip('/')}/nodes/{quote(name.lower(), safe='')}"
        status, data = await self._get(url)
        if status == 404:
            return None
        if status != 200 or not isinstance(data, dict):
            raise NodePackError(f"The registry of packs answers {status} for {name}.", hint=_HINT)
        newest = data.get("latest_version")
        version = str(newest.get("version") or "") if isinstance(newest, dict) else ""
        return Listed(name, _url(data.get("repository")), version if _VERSION.fullmatch(version) else "")

    async def _get(self, url: str) -> tuple[int, Any]:
        try:
            async with aiohttp.ClientSession(timeout=_WAIT) as session, session.get(url) as answer:
                if answer.status != 200:
                    return answer.status, None
                if (answer.content_length or 0) > _MOST_BYTES:
                    return answer.status, None
                return answer.status, await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            words = f"The registry of packs at {self.address} cannot be asked: {error or type(error).__name__}."
            raise NodePackError(words, hint=_HINT) from error


def _url(value: object) -> str:
    """A repository's address, "" for what is none."""
    try:
        return check_url(value.rstrip("/")) if isinstance(value, str) else ""
    except UsageError:
        return ""


_HINT = "Give the pack's repository instead: OWNER/NAME or an https address, with @COMMIT."
