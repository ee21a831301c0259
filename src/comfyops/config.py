"""Every setting, and the only place that reads the environment.

A setting comes from, first wins: a command's option, an environment variable, the file `.env` of the current folder.
Values are frozen and passed in; secrets show as stars.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_SERVER = "http://127.0.0.1:8188"


class Settings(BaseSettings):
    """All settings; docs/reference.md lists them."""

    model_config = SettingsConfigDict(
        env_prefix="COMFYOPS_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    server: str = Field(
        default=DEFAULT_SERVER,
        validation_alias=AliasChoices("COMFYOPS_SERVER", "COMFYUI_URL"),
        description="Address of the ComfyUI server.",
    )
    token: SecretStr | None = Field(default=None, description="Token sent to the server as `Authorization: Bearer`.")
    api_prefix: str = Field(default="", description="Path put before the server's routes, such as /api.")
    timeout: float = Field(default=30.0, gt=0, description="Seconds to wait for one HTTP answer.")
    stall_timeout: float = Field(
        default=600.0, gt=0, description="Seconds without any progress after which a server counts as stalled."
    )
    output: Path = Field(default=Path("comfyops-output"), description="Folder that results are written to.")


def load() -> Settings:
    """The settings of this process.

    Raises UsageError naming the variable that holds something impossible.
    """
    from pydantic import ValidationError

    from comfyops.errors import UsageError

    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper()
        raise UsageError(f"The setting {name} is wrong: {first['msg'].lower()}.") from error
