"""What operators do at a gateway. Their token needs the scope server:operate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from comfyops.client.http import GatewayHttp
from comfyops.client.values import items, pick


@dataclass(frozen=True, slots=True)
class FleetBackend:
    """A backend that jobs go to. `state`: new, up, down, drained, paused or quarantined; times: seconds since 1970."""

    name: str
    url: str
    state: str
    reason: str
    job: str | None
    loaded: Sequence[str]
    tags: Sequence[str]
    version: str
    dispatcher: str | None
    failures: int
    last_seen: float | None
    added_at: float


@dataclass(frozen=True, slots=True)
class BackendTest:
    """What a backend did when it was asked: whether it `answers`, and made a tiny picture (`canary`: made, failed, or
    left out because it has a job). Times are milliseconds."""

    name: str
    url: str
    good: bool
    answers: bool
    version: str
    latency_ms: float | None
    canary: str
    canary_ms: float | None
    why: str


@dataclass(frozen=True, slots=True)
class QueueStats:
    """How many jobs are in each state of the queue (`paused`: no more begin), and backends in each of theirs."""

    paused: bool
    jobs: Mapping[str, int]
    backends: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class OwnerQuota:
    """What one owner may have; None = no limit."""

    owner: str
    max_running: int | None = None
    max_waiting: int | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class PlannedJobs:
    """A schedule. `cron` is minute hour day month weekday; times are seconds since 1970."""

    name: str
    owner: str
    cron: str
    timezone: str
    misfire: str
    next_at: float
    last_at: float | None
    last_job: str | None
    paused: bool
    job_name: str = ""


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """What was told, or is to be told, of a job that ended. `state` is waiting, delivered or failed."""

    id: str
    job: str
    url: str
    type: str
    state: str
    attempts: int
    next_at: float
    status: int | None
    reason: str
    created_at: float


class Operators:
    """The operators' requests of one gateway; raises as `Client` does, UnknownBackendError, UsageError."""

    def __init__(self, http: GatewayHttp) -> None:
        self._http = http

    async def stats(self) -> QueueStats:
        """How the queue stands."""
        return pick(QueueStats, await self._get("queue"))

    async def pause(self) -> QueueStats:
        """Begin no more jobs; running ones go on."""
        return pick(QueueStats, await self._post("queue/pause"))

    async def resume(self) -> QueueStats:
        """Begin jobs again."""
        return pick(QueueStats, await self._post("queue/resume"))

    async def revoke_links(self) -> None:
        """End every signed link to a file that was given so far."""
        await self._post("queue/revoke-links")

    async def backends(self) -> tuple[FleetBackend, ...]:
        """Every backend, by name."""
        return tuple(pick(FleetBackend, row) for row in items(await self._get("fleet"), "backends"))

    async def add_backend(self, url: str, *, name: str = "", token: str = "", tags: Sequence[str] = ()) -> FleetBackend:
        """Add a backend; the same address and name again changes token and labels."""
        body = {"url": url, "name": name, "token": token, "tags": list(tags)}
        return pick(FleetBackend, await self._post("fleet", body))

    async def drain_backend(self, name: str, reason: str = "") -> FleetBackend:
        """Give it no more jobs; what it runs goes on."""
        return pick(FleetBackend, await self._post(f"fleet/{_word(name)}/drain", {"reason": reason}))

    async def pause_backend(self, name: str, reason: str = "") -> FleetBackend:
        """The same, meant for a while."""
        return pick(FleetBackend, await self._post(f"fleet/{_word(name)}/pause", {"reason": reason}))

    async def resume_backend(self, name: str) -> FleetBackend:
        """Give it jobs again, once it answers."""
        return pick(FleetBackend, await self._post(f"fleet/{_word(name)}/resume"))

    async def remove_backend(self, name: str) -> None:
        """Forget a backend that has no job. Raises JobStateError."""
        await self._post(f"fleet/{_word(name)}/remove")

    async def test_backend(self, name: str, seconds: float = 20.0) -> BackendTest:
        """Ask it what it is, and have it make a tiny picture within so many seconds."""
        return pick(BackendTest, await self._post(f"fleet/{_word(name)}/test", {"seconds": seconds}))

    async def quotas(self) -> tuple[OwnerQuota, ...]:
        """Every quota that was set."""
        return tuple(pick(OwnerQuota, item) for item in items(await self._get("quotas"), "quotas"))

    async def set_quota(self, quota: OwnerQuota) -> OwnerQuota:
        """Set the quota of its owner."""
        body = {name: getattr(quota, name) for name in OwnerQuota.__slots__}
        return pick(OwnerQuota, await self._post("quotas", body))

    async def remove_quota(self, owner: str) -> None:
        """Set an owner back to no limits of its own."""
        await self._post("quotas/remove", {"owner": owner})

    async def schedules(self) -> tuple[PlannedJobs, ...]:
        """Every schedule, by name."""
        return tuple(pick(PlannedJobs, item) for item in items(await self._get("schedules"), "schedules"))

    async def add_schedule(
        self, name: str, cron: str, job: Mapping[str, Any], *, timezone: str = "UTC", misfire: str = "once"
    ) -> PlannedJobs:
        """Have a job submitted at set times; `job` is as POST /api/v2/jobs takes it. Raises ScheduleError."""
        body = {"name": name, "cron": cron, "timezone": timezone, "misfire": misfire, "job": job}
        return pick(PlannedJobs, await self._post("schedules", body))

    async def pause_schedule(self, name: str, paused: bool = True) -> None:
        """Leave its times out, or no longer. Raises ScheduleError."""
        await self._post(f"schedules/{_word(name)}/pause", {"paused": paused})

    async def remove_schedule(self, name: str) -> None:
        """Forget a schedule; its jobs stay. Raises ScheduleError."""
        await self._post(f"schedules/{_word(name)}/remove")

    async def webhook_messages(
        self, *, job: str | None = None, state: str | None = None, limit: int = 100
    ) -> tuple[WebhookMessage, ...]:
        """What was told of jobs that ended, newest first."""
        wanted = {"job": job, "state": state, "limit": str(limit)}
        params = {name: value for name, value in wanted.items() if value is not None}
        return tuple(pick(WebhookMessage, item) for item in items(await self._get("webhooks", params), "messages"))

    async def replay_webhook(self, message: str) -> WebhookMessage:
        """Send a message once more. Raises UnknownJobError."""
        return pick(WebhookMessage, await self._post(f"webhooks/{_word(message)}/replay"))

    async def _get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        return await self._http.ask("GET", f"/ops/{path}", params=params)

    async def _post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return await self._http.ask("POST", f"/ops/{path}", json=dict(body or {}))


def _word(name: str) -> str:
    return quote(name, safe="")
