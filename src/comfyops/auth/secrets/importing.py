"""Old files of secrets into one document: what they agree on, what they disagree on, what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from comfyops.auth.secrets import conf_variants, plan, private_files, rotation, strength
from comfyops.auth.secrets.conf_variants import Found, Place
from comfyops.auth.secrets.model import Document, Secret, Target, check_name
from comfyops.auth.secrets.store import Store
from comfyops.errors import MissingFileError, SecretsError, WeakSecretError

USUAL = (
    ".secrets/comfyui_auth_tokens.conf",
    ".secrets/qwen-api-user.token",
    ".secrets/.env.generated",
    ".env",
    "docker-configurations/services/comfyui-qwen/.env",
    "docker-configurations/services/comfyui-qwen/.secrets/qwen-api-user.token",
    "docker-configurations/comfyui-qwen/.env",
    "docker-configurations/comfyui-qwen/.secrets/qwen-api-user.token",
    "login/PASSWORD",
)
"""Where the documented tools kept the secret."""

_FRESH = "Take only the targets and have a new secret made with `comfyops secrets import --fresh`."
_MARKERS = (".secrets", "docker-configurations", "login")


@dataclass(frozen=True, slots=True)
class Import:
    """What an import would make: the document, and remarks on each file that was read; never a value."""

    document: Document
    read: tuple[tuple[Path, str], ...]
    remarks: tuple[str, ...]


def usual_files(root: Path) -> tuple[Path, ...]:
    """The documented files that are there. Raises StorageError for one that cannot be read."""
    return tuple(root / name for name in USUAL if private_files.look(root / name).data is not None)


def collect(
    store: Store,
    files: Sequence[Path],
    document: Document,
    name: str,
    now: datetime,
    *,
    replace: bool = False,
    fresh: bool = False,
) -> Import:
    """A document with the secret that these files hold (`fresh`: with a new one), and with the targets that they name.

    Raises SecretsError where they disagree, hold none, or the secret exists and `replace` is not set; WeakSecretError
    where it is refused; MissingFileError; StorageError.
    """
    if name in document.secrets and not replace:
        raise SecretsError(f"The document has a secret {name} already.", hint="Use --replace, or another --name.")
    found = {file: _read(file) for file in files}
    remarks = [f"{file.name}: {problem}" for file, item in found.items() for problem in item.problems]
    username = next((item.username for item in found.values() if item.username), None)
    if fresh:
        secret = Secret(check_name(name), "login", rotation.fresh("login", None, username), now)
        more = ["the secret is new"]
    else:
        known_hash = _agreed("bcrypt hash", {file: item.hash for file, item in found.items()}, document)
        password = _agreed("raw token", {file: item.password for file, item in found.items()}, document)
        secret, more = _secret(check_name(name), known_hash, password, username, now)
    targets, lost = _targets(store, found, secret, document)
    made = document.with_secret(secret).with_targets(targets)
    return Import(made, tuple((file, item.kind) for file, item in found.items()), (*remarks, *more, *lost))


def _read(file: Path) -> Found:
    data = private_files.look(file).data
    if data is None:
        raise MissingFileError(f"{file} cannot be read: it does not exist.", path=str(file))
    try:
        return conf_variants.read(file.name, data)
    except SecretsError as error:
        raise SecretsError(f"{file}: {error.message}", hint=error.hint) from None


def _agreed(what: str, held: Mapping[Path, str | None], document: Document) -> str | None:
    values = {file: value for file, value in held.items() if value}
    if len(set(values.values())) > 1:
        marks = ", ".join(f"{file.name} {plan.fingerprint(x, document.fingerprint_key)}" for file, x in values.items())
        raise SecretsError(f"The files disagree on the {what}: {marks}.", hint="Name only the files to believe.")
    return next(iter(values.values()), None)


def _secret(
    name: str, known_hash: str | None, password: str | None, username: str | None, now: datetime
) -> tuple[Secret, list[str]]:
    """The secret that was meant, and what was left out of it."""
    remarks: list[str] = []
    if known_hash is None and password is None:
        hint = "Take their places and have one made with `comfyops secrets import --fresh`."
        raise SecretsError("None of these files holds a secret.", hint=hint)
    if known_hash is None:
        assert password is not None
        _check("raw token", strength.password_problem(password))
        return Secret(name, "login", rotation.fresh("login", password, username), now), ["the hash is new"]
    _check("bcrypt hash", strength.hash_problem(known_hash))
    fields = {"hash": known_hash, "username": username or "admin"}
    if password is not None and not rotation.belongs(password, known_hash):
        remarks.append("the raw token is left out: the hash was not made of it")
    elif password is not None:
        _check("raw token", strength.password_problem(password))
        fields["password"] = password
    return Secret(name, "login", rotation.checked(fields), now), remarks


def _check(what: str, problem: str | None) -> None:
    if problem:
        raise WeakSecretError(f"The {what} of these files is refused: {problem}.", hint=_FRESH)


def _targets(
    store: Store, found: Mapping[Path, Found], secret: Secret, document: Document
) -> tuple[tuple[Target, ...], list[str]]:
    """The targets of the document, those that the old files name, and those that were read."""
    targets = {target.path: target for target in document.targets}
    lost: list[str] = []
    for file, item in found.items():
        for place in (*_itself(file, item), *item.places):
            path = _local(store, place.path)
            fields = {key: name for key, name in place.fields.items() if name in secret.fields}
            if path is None:
                lost.append(f"a target of {file.name} is left out: it lies on another machine")
            elif fields and path not in targets:
                keys = {key: f"{secret.name}.{name}" for key, name in fields.items()}
                targets[path] = Target(path, place.format, keys)
    return tuple(targets.values()), lost


def _itself(file: Path, item: Found) -> tuple[Place, ...]:
    """The file that was read, as a target, where it is one."""
    if item.kind == "PASSWORD":
        return (Place(str(file.absolute()), "comfyui-login-password", {"hash": "hash", "username": "username"}),)
    if item.kind == "token":
        return (Place(str(file.absolute()), "token", {"token": "hash" if item.hash else "password"}),)
    if item.kind != "env":
        return ()
    held = private_files.look(file).data or b""
    from comfyops.auth.secrets import env_file

    fields: dict[str, str] = {}
    for key, value in env_file.loads(held).literal().items():
        if key in (*conf_variants.HASH_KEYS, *conf_variants.RAW_KEYS) and value:
            fields[key] = "hash" if "$2" in value else "password"
    return (Place(str(file.absolute()), "env", fields),)


def _local(store: Store, path: str) -> str | None:
    """The path below our root: as it is, or the end of one that another machine wrote; None where there is neither."""
    names = conf_variants.parts(path)
    if ".." in names or not names:
        return None
    here = Path(path)
    if here.is_absolute() and here.is_relative_to(store.root):
        return here.relative_to(store.root).as_posix()
    if not here.is_absolute() and "\\" not in path and ":" not in path:
        return here.as_posix()
    if here.is_absolute() and private_files.is_there(here):
        return str(here)
    start = next((number for number, name in enumerate(names) if name in _MARKERS), None)
    if start is not None:
        return "/".join(names[start:])
    return names[-1] if names[-1].startswith(".env") else None
