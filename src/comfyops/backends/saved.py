"""The workflows that people saved on a server: files in the folder "workflows" of its user data."""

from __future__ import annotations

from urllib.parse import quote

from comfyops.backends.http import Http
from comfyops.errors import BackendError, MissingFileError

_FOLDER = "workflows"


async def names(http: Http) -> tuple[str, ...]:
    """The names of the saved workflows without ".json", folders before them with "/".

    Raises BackendErrors; a server on which nothing was ever saved has none.
    """
    try:
        found = await http.get("/userdata", {"dir": _FOLDER, "recurse": "true"})
    except BackendError as error:
        if error.facts.get("status") == 404:
            return ()
        raise
    listed = [str(name).replace("\\", "/") for name in found or () if isinstance(name, str)]
    return tuple(sorted(name.removesuffix(".json") for name in listed if name.endswith(".json")))


async def read(http: Http, name: str) -> bytes:
    """The bytes of a saved workflow.

    Raises MissingFileError where the server does not have it, BackendErrors.
    """
    # The server takes the name apart twice, so a percent sign is written twice.
    path = quote(f"{_FOLDER}/{name}.json".replace("%", "%25"), safe="")
    try:
        return await http.read(f"/userdata/{path}", {})
    except BackendError as error:
        if error.facts.get("status") in (400, 403, 404):
            words = f"{http.url} has no saved workflow {name!r}."
            hint = "List them with `comfyops templates ls --saved`."
            raise MissingFileError(words, hint=hint, path=name) from error
        raise
