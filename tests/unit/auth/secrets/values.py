"""Secrets for tests: made up here, used nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime

from comfyops.auth.secrets.model import Document, Secret, Target

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
PASSWORD = "canary-Pw7xQ2mZ9k-raw"
# bcrypt of PASSWORD with 10 rounds, so that tests are quick.
HASH = "$2b$10$OOVBjkrp3VkPJ0OZO6z6MetPIY6sPWEmtnMtrH4b5.cvTl5hBDfUW"
TOKEN = "canary_T4hVq8sLw2ZrYb6NcX0d"


def document(*targets: Target) -> Document:
    """A document with a login and a token."""
    login = Secret("comfyui", "login", {"hash": HASH, "password": PASSWORD, "username": "ada"}, NOW)
    return Document(
        1, "f" * 64, {"comfyui": login, "worker": Secret("worker", "token", {"value": TOKEN}, NOW)}, targets
    )
