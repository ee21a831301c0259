"""The routes of a simulated server, one file per subject. All are there twice, also under /api."""

from __future__ import annotations

from aiohttp import web

from comfyops.simulator import page
from comfyops.simulator.routes import (
    assets,
    history,
    internal,
    jobs,
    models,
    nodes,
    prompt,
    queue,
    socket,
    system,
    upload,
    userdata,
    view,
)
from comfyops.simulator.settings import SimulatorSettings


def add_routes(app: web.Application, settings: SimulatorSettings) -> None:
    """Add all routes of this version, and the official page where it is wanted.

    Raises MissingExtraError where the page is wanted but not installed.
    """
    modern = settings.version != "0.8.0"
    routes = [
        route for part in (history, models, nodes, prompt, queue, socket, system, upload) for route in part.ROUTES
    ]
    routes += [*userdata.ROUTES, *view.ROUTES, *jobs.routes(modern)]
    if modern:
        routes += nodes.MODERN_ROUTES
    app.add_routes([_prefixed(route) for route in routes])
    if modern:
        app.add_routes(assets.ROUTES)
    app.add_routes(routes)
    app.add_routes(internal.ROUTES)
    page.add_routes(app, wanted=settings.page)


def _prefixed(route: web.RouteDef) -> web.RouteDef:
    return web.RouteDef(route.method, "/api" + route.path, route.handler, dict(route.kwargs))
