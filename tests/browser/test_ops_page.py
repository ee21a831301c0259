"""The operators' page in a real browser: backends, downloads steered, files fetched by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from comfyops.api.ops.app import AtWork
from comfyops.jobs.queue import Queue
from comfyops.testing.model_hub import Faults, ModelHub
from tests.browser.test_official_page import ARGUMENTS, CHROMIUM, Visit, playwright
from tests.unit.api.operations import FILES, operations
from tests.unit.gateway.house import House

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)"),
]

PASSWORD = "four words of nothing"


@asynccontextmanager
async def visiting(
    folder: Path, faults: Faults, path: str = "/ops", work: AtWork | None = None
) -> AsyncIterator[tuple[Any, House, ModelHub, Visit]]:
    """An operator who has signed in and chosen the set of the test."""
    async with operations(folder, faults, work) as (home, hub), playwright.async_playwright() as driver:
        home.user("ann", PASSWORD, "operator")
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = await browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(30_000)
        await page.goto(home.url + path)
        seen = Visit(page, home.url.partition("//")[2])
        await page.get_by_label("Name").fill("ann")
        await page.get_by_label("Password").fill(PASSWORD)
        seen.watch()
        await page.get_by_role("button", name="Sign in").click()
        await page.locator("#group").fill("mine")
        yield page, home, hub, seen
        assert seen.errors == []
        await browser.close()


async def test_backends_are_shown_and_asked_again(tmp_path: Path) -> None:
    async with visiting(tmp_path, Faults()) as (page, home, _, _):
        card = page.locator(".card")
        await card.locator("text=ready").wait_for()
        text = await card.inner_text()
        assert home.backend in text and "VRAM free" in text and "0 running, 0 waiting" in text
        async with page.expect_response("**/ops/backends/check") as answer:
            await card.get_by_role("button", name="Check Backend Status").click()
        assert (await answer.value).status == 200
        link = page.get_by_role("link", name="Open ComfyUI Interface")
        assert await link.get_attribute("href") == "/"


async def test_what_the_queue_knows_of_a_backend_is_on_its_card(tmp_path: Path) -> None:
    async def admit(graph: Any, who: Any) -> None:
        """Everybody may run everything here."""

    async with (
        await asyncio.to_thread(Queue, "", tmp_path / "queue") as queue,
        visiting(tmp_path, Faults(), work=AtWork(queue, admit)) as (page, _, _, _),
    ):
        card = page.locator(".card")
        await card.locator("text=not looked at yet").wait_for()
        await queue.fleet.drain("gpu-1", reason="new driver")
        await card.locator("text=drained: new driver").wait_for()
        assert "big" in await card.inner_text()


async def test_a_download_is_started_paused_resumed_and_ends(tmp_path: Path) -> None:
    async with visiting(tmp_path, Faults(throttle=100_000)) as (page, _, hub, _):
        await page.get_by_role("button", name="Check", exact=True).click()
        await page.get_by_text("2 problems").wait_for()
        await page.get_by_role("button", name="Plan", exact=True).click()
        await page.get_by_text("2 to fetch, 7.6 MiB").wait_for()
        await page.get_by_role("button", name="Download automatically").click()
        row = page.locator("#downloads tr", has_text="a.safetensors")
        other = page.locator("#downloads tr", has_text="b.safetensors")
        await row.get_by_role("button", name="Pause").click()
        await page.locator('#downloads tr[data-status="paused"]', has_text="a.safetensors").wait_for()
        await other.get_by_role("button", name="Cancel").click()
        await page.locator('#downloads tr[data-status="failed"]', has_text="b.safetensors").wait_for()
        hub.faults = Faults()
        await row.get_by_role("button", name="Resume").click()
        await other.get_by_role("button", name="Retry").click()
        for name in ("a", "b"):
            await page.locator('#downloads tr[data-status="completed"]', has_text=f"{name}.safetensors").wait_for()
        await page.get_by_role("button", name="Check", exact=True).click()
        await page.get_by_text("All that is required is there.").wait_for()
    for name in ("a", "b"):
        assert (tmp_path / f"models/loras/{name}.safetensors").read_bytes() == FILES[f"org/repo/{name}.safetensors"]


async def test_by_hand_the_folder_is_watched_and_what_comes_is_verified(tmp_path: Path) -> None:
    async with visiting(tmp_path, Faults(), "/ops?lang=fr") as (page, _, _, seen):
        await page.get_by_role("button", name="Mode manuel").click()
        steps = page.locator("#steps > li")
        await steps.nth(1).wait_for()
        assert await steps.count() == 2
        place = Path(await steps.nth(0).locator("code").inner_text())
        assert place == tmp_path / "models/loras/a.safetensors"
        assert "huggingface.co" in await steps.nth(0).inner_text()
        place.parent.mkdir(parents=True)
        place.write_bytes(FILES["org/repo/a.safetensors"])
        await steps.nth(0).get_by_text("vérifié").wait_for()
        await page.get_by_role("button", name="ComfyUI-Manager").click()
        alert = page.get_by_role("alert")
        await alert.wait_for()
        assert "ComfyUI-Manager" in await alert.inner_text()
        assert [error for error in seen.errors if "409" not in error] == []
        seen.errors.clear()  # a browser logs every refusal, also one that the page explains
