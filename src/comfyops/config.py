"""Every setting, and the only place that reads the environment.

A setting comes from, first wins: a command's option, an environment variable, the file `.env` of the current folder.
Values are frozen and passed in; secrets show as stars.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from comfyops.errors import UsageError

_DAY = 86_400.0  # seconds


class _Once(logging.Filter):
    """Lets each message through once: the file `.env` is read several times by one command."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        words = record.getMessage()
        is_new = words not in self._seen
        self._seen.add(words)
        return is_new


logging.getLogger("dotenv.main").addFilter(_Once())

DEFAULT_SERVER = "http://127.0.0.1:8188"


@dataclass(frozen=True)
class AuthSettings:
    """What access depends on. Times are in seconds, `bcrypt_rounds` is the power of two of bcrypt's cost."""

    max_login_attempts: int = 5
    session_lifetime: float = 24 * 3600.0
    session_idle: float = 2 * 3600.0
    guest_mode: bool = False
    audit_keep: float = 365 * _DAY
    owners_keep: float = 365 * _DAY
    bcrypt_rounds: int = 12


@dataclass(frozen=True)
class OidcSettings:
    """Sign-in by an OpenID provider. `roles` are pairs of a value of the role claim and our role; the first counts."""

    issuer: str
    client_id: str
    client_secret: SecretStr | None
    scopes: str
    label: str
    name_claim: str
    role_claim: str
    roles: tuple[tuple[str, str], ...]
    redirect_url: str


class Settings(BaseSettings):
    """All settings; docs/reference.md lists them."""

    model_config = SettingsConfigDict(
        env_prefix="COMFYOPS_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    server: str = Field(
        default=DEFAULT_SERVER,
        validation_alias=AliasChoices("COMFYOPS_SERVER", "COMFYUI_URL"),
        description="Address of the ComfyUI server.",
    )
    token: SecretStr | None = Field(default=None, description="Token sent to the server as `Authorization: Bearer`.")
    api_prefix: str = Field(default="", description="Path put before the server's routes, such as /api.")
    timeout: float = Field(default=30.0, gt=0, le=_DAY, description="Seconds to wait for one HTTP answer.")
    stall_timeout: float = Field(
        default=600.0,
        gt=0,
        le=_DAY,
        description="Seconds without any progress after which a server counts as stalled.",
    )
    output: Path = Field(default=Path("comfyops-output"), description="Folder that results are written to.")
    library: str = Field(
        default="",
        description="Folders with workflows of your own; separated as in PATH.",
    )

    @property
    def library_folders(self) -> tuple[Path, ...]:
        """The folders of `library`."""
        return tuple(Path(part).expanduser() for part in self.library.split(os.pathsep) if part.strip())

    home: Path = Field(default=Path("~/.comfyops"), description="Folder for what is remembered, such as times of runs.")

    comfyui_path: Path | None = Field(
        default=None,
        validation_alias=AliasChoices("COMFYOPS_COMFYUI_PATH", "COMFYUI_PATH"),
        description="Folder of the ComfyUI installation whose models are meant; else the usual places are looked into.",
    )
    models_dir: Path | None = Field(default=None, description="Folder of models, where there is no ComfyUI around it.")
    model_hosts: str = Field(
        default="",
        description="Further hosts that models may come from, as `host` or `host:port`, separated by commas; "
        "`http://host:port` allows plain http there.",
    )
    model_sources: str = Field(
        default="",
        description="Folders with model files, such as a network share, looked into before a model is fetched; "
        "separated by commas.",
    )
    model_buckets: str = Field(
        default="",
        description="Buckets of object storage that models may come from, as s3://NAME, gs://NAME or az://CONTAINER, "
        "separated by commas; options follow as in s3://NAME?endpoint=http://host:9000&region=eu-west-1&anonymous.",
    )
    peers: str = Field(
        default="",
        description="Other machines that share their models (`comfyops models share`), asked before the internet: "
        "addresses as http://host:port, separated by commas.",
    )
    peer_token: SecretStr | None = Field(
        default=None, description="What peers show each other: `comfyops models share` gives files to nobody else."
    )
    http_proxy: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("COMFYOPS_HTTP_PROXY", "HTTP_PROXY", "ALL_PROXY"),
        description="Proxy for addresses of http, as http://[user:password@]host:port.",
    )
    https_proxy: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("COMFYOPS_HTTPS_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
        description="Proxy for addresses of https, which go through it unseen (CONNECT).",
    )
    no_proxy: str = Field(
        default="",
        validation_alias=AliasChoices("COMFYOPS_NO_PROXY", "NO_PROXY"),
        description="Hosts that are asked without a proxy: names, .domains, addresses, networks, separated by commas.",
    )
    hf_endpoint: str = Field(
        default="",
        validation_alias=AliasChoices("COMFYOPS_HF_ENDPOINT", "HF_ENDPOINT"),
        description="Address of a mirror of Hugging Face, used in its place.",
    )
    hf_token: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("COMFYOPS_HF_TOKEN", "HF_TOKEN", "HF_API_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
        description="Token for Hugging Face; else the one that `hf auth login` has saved.",
    )
    hf_token_path: Path | None = Field(
        default=None,
        validation_alias=AliasChoices("COMFYOPS_HF_TOKEN_PATH", "HF_TOKEN_PATH"),
        description="File with the token of `hf auth login`, where it is not at its usual place.",
    )
    hf_home: Path | None = Field(
        default=None,
        validation_alias=AliasChoices("COMFYOPS_HF_HOME", "HF_HOME"),
        description="Folder of Hugging Face's own tools, else `huggingface` in XDG_CACHE_HOME or ~/.cache; `token` in "
        "it is read.",
    )
    hf_hub_cache: Path | None = Field(
        default=None,
        validation_alias=AliasChoices("COMFYOPS_HF_HUB_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"),
        description="Cache of Hugging Face's own tools, else `hub` in their folder: a file in it is not fetched again.",
    )
    civitai_token: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("COMFYOPS_CIVITAI_TOKEN", "CIVITAI_API_TOKEN"),
        description="Token for Civitai.",
    )
    civitai_endpoint: str = Field(default="", description="Address of a mirror of Civitai, used in its place.")
    offline: bool = Field(
        default=False,
        validation_alias=AliasChoices("COMFYOPS_OFFLINE", "HF_HUB_OFFLINE"),
        description="Never ask a source of models: only what is there and what is remembered counts.",
    )

    node_registry: str = Field(
        default="https://api.comfy.org",
        description="Address of the registry of packs of custom nodes.",
    )

    alert_webhook: str = Field(default="", description="Address that is told when the health of a model changes.")
    alert_webhook_secret: SecretStr | None = Field(
        default=None, description="Secret that messages to it are signed with: whsec_ and random bytes in base64."
    )
    alert_webhook_private: bool = Field(
        default=False, description="The webhook may be on a private or local address, and plain http."
    )

    max_login_attempts: int = Field(
        default=5,
        ge=1,
        le=1000,
        validation_alias=AliasChoices("COMFYOPS_MAX_LOGIN_ATTEMPTS", "MAX_LOGIN_ATTEMPTS"),
        description="Wrong passwords of one account, or from one address, after which waiting begins.",
    )
    session_expire_hours: float = Field(
        default=24.0,
        gt=0,
        le=8760,
        validation_alias=AliasChoices("COMFYOPS_SESSION_EXPIRE_HOURS", "SESSION_EXPIRE_HOURS"),
        description="Hours after which somebody who signed in has to do so again.",
    )
    session_idle_minutes: float = Field(
        default=120.0, gt=0, le=525_600, description="Minutes without a request after which a session ends."
    )
    guest_mode: bool = Field(
        default=False,
        validation_alias=AliasChoices("COMFYOPS_GUEST_MODE", "GUEST_MODE_ENABLED"),
        description="Let people without a credential see the page and the server's facts, nothing else.",
    )
    audit_keep_days: float = Field(
        default=365.0,
        gt=0,
        le=36_500,
        description="Days after which a gateway and `comfyops audit prune` drop records of who did what.",
    )
    owners_keep_days: float = Field(
        default=365.0,
        gt=0,
        le=36_500,
        description="Days after which a gateway forgets whose job and whose result it was; then only operators see it.",
    )

    oidc_issuer: str = Field(
        default="", description="Address of the OpenID provider that people may sign in by; else there is none."
    )
    oidc_client_id: str = Field(default="", description="What the provider knows this gateway as.")
    oidc_client_secret: SecretStr | None = Field(default=None, description="Secret of this gateway at the provider.")
    oidc_scopes: str = Field(default="openid profile email", description="What the provider is asked for.")
    oidc_label: str = Field(default="single sign-on", description="What the sign-in page calls the provider.")
    oidc_name_claim: str = Field(
        default="preferred_username", description="The provider's claim that becomes the user's name; else `email`."
    )
    oidc_role_claim: str = Field(
        default="groups", description="The claim that says what somebody may do, such as realm_access.roles."
    )
    oidc_role_map: str = Field(
        default="",
        description="VALUE=ROLE, separated by commas: the role that a value of that claim gives; the first that fits.",
    )
    oidc_redirect_url: str = Field(
        default="",
        description="Address of /auth/oidc/callback as the provider knows it, where it is another.",
    )

    database: SecretStr = Field(
        default=SecretStr(""),
        description="Database of jobs: postgresql://user@host/name, or sqlite:///path; else a file in `queue_folder`.",
    )
    queue_folder: Path | None = Field(
        default=None,
        description="Folder of the files of jobs, shared by all machines of one database; else `queue` in `home`.",
    )
    max_waiting: int = Field(
        default=10_000, ge=1, le=10_000_000, description="Jobs of one owner that may wait, without a quota of its own."
    )
    keep_jobs_days: float = Field(
        default=30.0, gt=0, le=36_500, description="Days for which jobs that are over are kept, with their outputs."
    )
    unload_idle_minutes: float | None = Field(
        default=None, gt=0, le=10_080, description="Minutes without a job after which a server's models are unloaded."
    )
    worker_lease: float = Field(
        default=15.0, ge=1, le=3600, description="Seconds without a sign after which a worker counts as dead."
    )
    deliver_to: str = Field(
        default="",
        description="Where outputs of jobs are copied to: a folder, s3://bucket/prefix, gs:// or az://; else nowhere.",
    )
    deliver_name: str = Field(
        default="{date}/{job}/{index}-{stem}{ext}", description="Names of copied outputs, with fields in braces."
    )
    job_webhook_secret: SecretStr | None = Field(
        default=None,
        description="Secret that webhooks of jobs are signed with; else one that the queue makes.",
    )
    job_webhook_private: bool = Field(
        default=False, description="Webhooks of jobs may be on private or local addresses, and plain http."
    )

    secrets_file: Path = Field(
        default=Path(".secrets/comfyops.yaml"),
        description="The document of secrets; paths of its targets start at the folder that holds its folder.",
    )
    backup_passphrase: SecretStr | None = Field(
        default=None, description="Passphrase that backups of secrets are encrypted with and opened by."
    )

    @property
    def auth(self) -> AuthSettings:
        """The settings of access, in seconds."""
        return AuthSettings(
            max_login_attempts=self.max_login_attempts,
            session_lifetime=self.session_expire_hours * 3600,
            session_idle=self.session_idle_minutes * 60,
            guest_mode=self.guest_mode,
            audit_keep=self.audit_keep_days * _DAY,
            owners_keep=self.owners_keep_days * _DAY,
        )

    @property
    def hub_home(self) -> Path:
        """The folder of Hugging Face's own tools."""
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return (self.hf_home or Path(cache, "huggingface")).expanduser()

    @property
    def hub_cache(self) -> Path:
        """Where Hugging Face's own tools keep files."""
        return (self.hf_hub_cache or self.hub_home / "hub").expanduser()

    @property
    def source_folders(self) -> tuple[Path, ...]:
        """The folders of `model_sources`."""
        return tuple(Path(item).expanduser() for part in self.model_sources.split(",") if (item := part.strip()))

    @property
    def oidc(self) -> OidcSettings | None:
        """The provider of sign-ins, None where there is none. Raises UsageError for half of the settings."""
        if not self.oidc_issuer:
            return None
        roles = tuple(_role_of(part) for part in self.oidc_role_map.split(",") if part.strip())
        if not self.oidc_client_id or not roles:
            missing = "COMFYOPS_OIDC_CLIENT_ID" if roles else "COMFYOPS_OIDC_ROLE_MAP"
            raise UsageError(f"With COMFYOPS_OIDC_ISSUER, {missing} is needed too.", hint="docs/auth.md shows all.")
        return OidcSettings(
            issuer=_issuer(self.oidc_issuer),
            client_id=self.oidc_client_id,
            client_secret=self.oidc_client_secret,
            scopes=self.oidc_scopes,
            label=self.oidc_label,
            name_claim=self.oidc_name_claim,
            role_claim=self.oidc_role_claim,
            roles=roles,
            redirect_url=self.oidc_redirect_url,
        )

    @property
    def hub_token(self) -> str | None:
        """The token for Hugging Face: the setting, else the one that its own tools have saved."""
        if self.hf_token is not None:
            return self.hf_token.get_secret_value().strip() or None
        file = (self.hf_token_path or self.hub_home / "token").expanduser()
        try:
            return file.read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError):
            return None


def debugging() -> bool:
    """Whether COMFYOPS_DEBUG is set: internal errors then show where they happened."""
    return bool(os.environ.get("COMFYOPS_DEBUG"))


def wsl_distribution() -> str:
    """The name of the WSL distribution that this process runs in, "" where it runs in none."""
    return os.environ.get("WSL_DISTRO_NAME", "")


def environment_of_children() -> dict[str, str]:
    """The environment for programs of others: ours without our settings, which hold secrets, and our Python's home."""
    ours = ("COMFYOPS_", "PYTHONHOME")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def prefixed(prefix: str) -> dict[str, str]:
    """The environment's variables that begin with a prefix, without it and in lower case; empty ones are left out."""
    found = {name.removeprefix(prefix).lower(): value for name, value in os.environ.items() if name.startswith(prefix)}
    return {name: value for name, value in found.items() if value}


def load() -> Settings:
    """The settings of this process.

    Raises UsageError naming the variable that holds something impossible, or that is no setting.
    """
    settings = _checked(Settings)
    for name in sorted({*os.environ, *dotenv_values(".env", interpolate=False)}):
        if name.startswith("COMFYOPS_") and name not in _KNOWN and not _FOREIGN.fullmatch(name):
            raise UsageError(f"There is no setting {name}.", hint=_nearest(name))
    return settings


def given_server() -> str | None:
    """The server's address where one is configured, None where only the default would be used."""
    settings = load()
    return settings.server if "server" in settings.model_fields_set else None


def override(settings: Settings, **options: Any) -> Settings:
    """The settings with other values, checked like those of the environment; None leaves a setting as it is.

    Raises UsageError.
    """
    given = {name: value for name, value in options.items() if value is not None}
    return _checked(lambda: Settings.model_validate({**settings.model_dump(), **given}))


def _role_of(part: str) -> tuple[str, str]:
    value, equals, role = (text.strip() for text in part.rpartition("="))
    if not (value and equals and role):
        words = f"{part.strip()[:60]!r} in COMFYOPS_OIDC_ROLE_MAP is not VALUE=ROLE."
        raise UsageError(words, hint="Write it so: artists=artist,admins=administrator.")
    return value, role


def _issuer(text: str) -> str:
    """The issuer as it is written, which is how the provider's tokens name it; by https, but for this machine."""
    parts = urlsplit(text)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise UsageError(f"{text[:100]!r} is no issuer: it begins with https://.", hint="See COMFYOPS_OIDC_ISSUER.")
    return text


def _checked(make: Callable[[], Settings]) -> Settings:
    try:
        return make()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).lower().removeprefix("comfyops_")
        raise UsageError(f"The setting {name!r} is wrong: {first['msg'].lower()}.", hint=_hint(name)) from error
    except UnicodeDecodeError as error:
        raise UsageError("The file .env is not text in UTF-8.", hint="Write it anew, or remove it.") from error
    except PermissionError as error:
        hint = "Run the command as the file's owner, or in another folder."
        raise UsageError("The file .env cannot be read: permission is denied.", hint=hint) from error


def _names() -> Iterator[str]:
    """Every variable that is a setting."""
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        yield from (str(item) for item in alias.choices) if isinstance(alias, AliasChoices) else ()
        yield f"COMFYOPS_{name.upper()}"


_KNOWN = frozenset(_names()) | {
    *("COMFYOPS_DEBUG", "COMFYOPS_BACKEND_TOKEN", "COMFYOPS_TEST_ALL"),
    *("COMFYOPS_LOG_FILE", "COMFYOPS_LOG_FORMAT", "COMFYOPS_LOG_LEVEL"),
}
# What Kubernetes and container links set by themselves for a service of the name comfyops; and the benchmarks' own.
_FOREIGN = re.compile(r"COMFYOPS_(?:SERVICE_(?:HOST|PORT\w*)|PORT(?:_\d+_\w+)?|NAME|ENV_\w+|BENCH_\w+)")


def _nearest(name: str) -> str:
    words = {known.removeprefix("COMFYOPS_"): known for known in _KNOWN if known.startswith("COMFYOPS_")}
    near = difflib.get_close_matches(name.removeprefix("COMFYOPS_"), words, 1, 0.7)
    return f"Did you mean {words[near[0]]}?" if near else "docs/reference.md lists the settings; remove the variable."


def _hint(name: str) -> str:
    return f"It comes from an option, from COMFYOPS_{name.upper()}, or from the file .env."
