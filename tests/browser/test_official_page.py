"""The official ComfyUI page in a real browser, on the simulator."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from comfyops.simulator import Simulator, SimulatorSettings

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

CHROMIUM = "/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else shutil.which("chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)"),
    pytest.mark.skipif(
        importlib.util.find_spec("comfyui_frontend_package") is None, reason="the extra `page` is not installed"
    ),
]


@dataclass
class Visit:
    """The page, and everything it complained about on this server.

    Left out on purpose: what the page fetches from other hosts (news of its makers), which a machine without internet
    cannot load.
    """

    page: playwright.Page
    host: str
    errors: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Collect console errors, exceptions and failed answers of this server."""
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(f"exception: {error}"))
        self.page.on("response", self._response)

    def _console(self, message: playwright.ConsoleMessage) -> None:
        place = urlsplit(message.location.get("url", ""))
        if message.type == "error" and place.netloc in ("", self.host):
            self.errors.append(f"console: {message.text}")

    def _response(self, response: playwright.Response) -> None:
        if response.status >= 400 and urlsplit(response.url).netloc == self.host:
            self.errors.append(f"{response.status} {response.request.method} {response.url}")


@pytest.fixture
async def visit(tmp_path: Path) -> AsyncIterator[Visit]:
    settings = SimulatorSettings(port=0, page=True, home=tmp_path, seconds_per_step=0.25)
    async with Simulator(settings) as simulator, playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = await browser.new_page(viewport={"width": 1400, "height": 900})
        seen = Visit(page, urlsplit(simulator.url).netloc)
        seen.watch()
        await page.goto(simulator.url)
        yield seen
        await browser.close()


async def test_page_opens_a_template_runs_it_and_shows_progress_and_picture(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    await page.get_by_text("Simulated text to image").first.click(timeout=60_000)
    await page.wait_for_function("() => window.app?.graph?._nodes?.length === 7", timeout=30_000)

    await page.get_by_role("button", name="Run", exact=True).first.click()
    await page.wait_for_function(
        "() => /Current node:\\s*KSampler\\s*[1-9]/.test(document.body.innerText)", timeout=30_000
    )

    shown = """() => window.app.graph._nodes.some(
        node => node.type === "SaveImage" && (node.imgs || []).some(image => image.naturalWidth === 512))"""
    await page.wait_for_function(shown, timeout=30_000)

    assert [file.name for file in (tmp_path / "output").iterdir()] == ["simulated_00001_.png"]
    assert visit.errors == []
