"""Workflows drawn from graphs, opened in the official page: it sends the same graphs."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from comfyops.simulator import Simulator, SimulatorSettings
from comfyops.workflows import api_format, convert, node_types
from tests.conformance import frontend
from tests.unit.workflows.builders import sd15

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

CHROMIUM = "/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else shutil.which("chromium")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)"),
    pytest.mark.skipif(
        importlib.util.find_spec("comfyui_frontend_package") is None, reason="the extra `page` is not installed"
    ),
]

READY = "() => window.app?.graph && window.LiteGraph?.registered_node_types?.KSampler"
OPEN = """async workflow => {
    await app.loadGraphData(workflow, true, false);
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    const sent = await app.graphToPrompt();
    return JSON.parse(JSON.stringify(sent.output));
}"""


async def test_the_page_opens_drawn_workflows_and_sends_their_graphs(tmp_path: Path) -> None:
    types = node_types.shipped("0.33.0")
    recorded = frontend.cases("1.49.6")
    names = ("image_sdxl_simple", "video_ltx2_t2v", "templates_doc_workbox_poster_recreator")
    graphs = [sd15(), *(recorded[name]["api"] for name in names)]
    settings = SimulatorSettings(port=0, page=True, home=tmp_path)
    async with Simulator(settings) as simulator, playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = await browser.new_page(viewport={"width": 1400, "height": 900})
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        await page.goto(simulator.url)
        await page.wait_for_function(READY, timeout=90_000)
        for graph in graphs:
            sent = await page.evaluate(OPEN, convert.to_ui(api_format.parse(graph), types))
            assert frontend.digest(sent, types) == frontend.digest(graph, types)
        await browser.close()
    assert wrong == []
