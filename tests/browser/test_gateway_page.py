"""The official ComfyUI page in a real browser, through the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfyops.simulator import SimulatorSettings
from tests.browser.test_official_page import ARGUMENTS, CHROMIUM, Visit, playwright, pytestmark
from tests.unit.gateway.house import house

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
