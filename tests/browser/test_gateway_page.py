"""The official ComfyUI page in a real browser, through the gateway."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from comfyops.simulator import SimulatorSettings
from tests.browser.test_official_page import ARGUMENTS, CHROMIUM, Visit, playwright, pytestmark
from tests.unit.gateway.house import DurableHouse, durable_house, house

__all__ = ["pytestmark"]

PASSWORD = "four words of nothing"


@pytest.mark.parametrize("role", ["artist", "administrator"])
async def test_page_works_after_signing_in(tmp_path: Path, role: str) -> None:
    simulated = SimulatorSettings(port=0, page=True, home=tmp_path / "server", seconds_per_step=0.1)
    async with house(tmp_path / "home", simulated=simulated) as home, playwright.async_playwright() as driver:
        home.user("ann", PASSWORD, role)
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = await browser.new_page(viewport={"width": 1400, "height": 900})
        await page.goto(home.url)
        await page.get_by_label("Name").fill("ann")
        await page.get_by_label("Password").fill("not this one")
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("alert").wait_for()
        assert "wrong" in await page.get_by_role("alert").inner_text()

        seen = Visit(page, home.url.partition("//")[2])
        seen.watch()
        await page.get_by_label("Name").fill("ann")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_text("Simulated text to image").first.click(timeout=60_000)
        await page.wait_for_function("() => window.app?.graph?._nodes?.length === 7", timeout=30_000)
        await page.get_by_role("button", name="Run", exact=True).first.click()
        shown = """() => window.app.graph._nodes.some(
            node => node.type === "SaveImage" && (node.imgs || []).some(image => image.naturalWidth === 512))"""
        await page.wait_for_function(shown, timeout=30_000)
        assert seen.errors == []
        await browser.close()


ANOTHER = """() => {
    const sampler = window.app.graph._nodes.find(node => node.type === "KSampler");
    sampler.widgets.find(widget => widget.name === "seed").value = 4711;
}"""
PAINT = """async () => {
    const canvas = new OffscreenCanvas(32, 32);
    canvas.getContext("2d").fillRect(0, 0, 32, 32);
    const file = new File([await canvas.convertToBlob()], "pasted.png", { type: "image/png" });
    const data = new DataTransfer();
    data.items.add(file);
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
}"""
LOADED = """() => window.app.graph._nodes.some(
    node => node.type === "LoadImage" && (node.imgs || []).some(image => image.naturalWidth === 32))"""
SHOWN = """() => window.app.graph._nodes.some(
    node => node.type === "SaveImage" && (node.imgs || []).some(image => image.naturalWidth === 512))"""
THUMBNAIL = """() => [...document.images].some(
    image => image.src.includes("subfolder=jobs") && image.naturalWidth > 0)"""


async def test_page_works_with_durable_jobs(tmp_path: Path) -> None:
    simulated = SimulatorSettings(port=0, page=True, home=tmp_path / "server", seconds_per_step=0.25)
    async with (
        durable_house(tmp_path / "home", simulated=simulated) as home,
        playwright.async_playwright() as driver,
    ):
        home.user("ann", PASSWORD, "artist")
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = await browser.new_page(viewport={"width": 1400, "height": 900})
        seen = await _sign_in(page, home)
        run = page.get_by_role("button", name="Run", exact=True).first
        await run.click()
        await page.wait_for_function(SHOWN, timeout=60_000)
        await page.get_by_role("button", name="Assets (a)").click()
        await page.wait_for_function(THUMBNAIL, timeout=30_000)

        await page.evaluate(PAINT)
        await page.wait_for_function(LOADED, timeout=30_000)

        await page.evaluate(ANOTHER)
        await run.click()
        await _state(home, "running")
        await page.get_by_role("button", name="Cancel current run").click()
        await _state(home, "cancelled")
        early = ("filename=pasted.png", "status of 404")  # the page may show the picture before it has sent it
        assert [error for error in seen.errors if not any(words in error for words in early)] == []
        await browser.close()


async def _sign_in(page: playwright.Page, home: DurableHouse) -> Visit:
    """The page with a workflow, and what it complains about."""
    await page.goto(home.url)
    await page.get_by_label("Name").fill("ann")
    await page.get_by_label("Password").fill(PASSWORD)
    seen = Visit(page, home.url.partition("//")[2])
    seen.watch()
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_text("Simulated text to image").first.click(timeout=60_000)
    await page.wait_for_function("() => window.app?.graph?._nodes?.length === 7", timeout=30_000)
    return seen


async def _state(home: DurableHouse, wanted: str) -> None:
    """Wait until a job is in a state."""
    async with asyncio.timeout(30):
        while True:
            if (await home.queue.stats()).get(wanted):
                return
            await asyncio.sleep(0.02)
