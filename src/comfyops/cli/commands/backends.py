"""`comfyops backends`: the ComfyUI servers that a gateway's jobs go to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.markup import escape

from comfyops.cli import job_lines
from comfyops.cli.gateway import Gateway, ask
from comfyops.cli.options import Json, Token
from comfyops.cli.output import Result, count
from comfyops.client.operators import BackendTest, FleetBackend

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Look after the servers that jobs go to.")

Name = Annotated[str, typer.Argument(help="Name of the backend, see `comfyops backends ls`.")]
Reason = Annotated[str, typer.Option(help="Why; it is shown with the backend.")]


@app.command()
def ls(server: Gateway = None, token: Token = None, as_json: Json = False) -> Result:
    """List backends: state and why, job, models in memory, labels."""
    found = ask(lambda client: client.operators.backends(), server, token)
    return Result("backends ls", found, _lines(found), [count(len(found), "backend")])


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="Address of the ComfyUI server, as the gateway reaches it.")],
    name: Annotated[str, typer.Option(help="A name; its host and port if not given.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="A label that jobs may ask for.")] = None,
    backend_token: Annotated[
        str, typer.Option(envvar="COMFYOPS_BACKEND_TOKEN", help="Token that the server wants.")
    ] = "",
    server: Gateway = None,
    token: Token = None,
    as_json: Json = False,
) -> Result:
    """Add a server; jobs go to it once it has answered. The same address and name again changes labels and token."""
    found = ask(
        lambda client: client.operators.add_backend(url, name=name, token=backend_token, tags=tag or []), server, token
    )
    return Result("backends add", found, _lines([found]))


@app.command()
def drain(
    name: Name, reason: Reason = "", server: Gateway = None, token: Token = None, as_json: Json = False
) -> Result:
    """Give a backend no more jobs; what it runs goes on."""
    found = ask(lambda client: client.operators.drain_backend(name, reason), server, token)
    return Result("backends drain", found, _lines([found]))


@app.command()
def pause(
    name: Name, reason: Reason = "", server: Gateway = None, token: Token = None, as_json: Json = False
) -> Result:
    """The same, meant for a while."""
    found = ask(lambda client: client.operators.pause_backend(name, reason), server, token)
    return Result("backends pause", found, _lines([found]))


@app.command()
def resume(name: Name, server: Gateway = None, token: Token = None, as_json: Json = False) -> Result:
    """Give a drained, paused or quarantined backend jobs again, once it answers."""
    found = ask(lambda client: client.operators.resume_backend(name), server, token)
    return Result("backends resume", found, _lines([found]))


@app.command()
def remove(name: Name, server: Gateway = None, token: Token = None, as_json: Json = False) -> Result:
    """Forget a backend that has no job."""
    ask(lambda client: client.operators.remove_backend(name), server, token)
    return Result("backends remove", {"removed": name}, [f"{escape(name)}  removed"])


@app.command()
def test(
    name: Name,
    seconds: Annotated[float, typer.Option(min=0.1, max=20.0, help="How long a tiny picture may take.")] = 15.0,
    server: Gateway = None,
    token: Token = None,
    as_json: Json = False,
) -> Result:
    """Ask a backend what it is and have it make a tiny picture, now. Exit code 1 where something speaks against it."""
    found = ask(lambda client: client.operators.test_backend(name, seconds), server, token)
    return Result("backends test", found, _test_lines(found), exit_code=0 if found.good else 1)


def _lines(found: Iterable[FleetBackend]) -> Iterator[str]:
    for item in found:
        why = f": {item.reason}" if item.reason else ""
        facts = [item.url, f"ComfyUI {item.version}" if item.version else "", f"job {item.job}" if item.job else ""]
        facts += [f"loaded {', '.join(item.loaded)}" if item.loaded else "", *(f"#{tag}" for tag in item.tags)]
        yield f"{escape(f'{item.name}  {item.state}{why}  ' + '  '.join(filter(None, facts)))}"
        if item.state not in ("up", "new"):
            yield f"  last seen {job_lines.moment(item.last_seen)}"


def _test_lines(found: BackendTest) -> Iterator[str]:
    answer = f"answers in {found.latency_ms:g} ms, ComfyUI {found.version}" if found.answers else "does not answer"
    made = f" in {found.canary_ms:g} ms" if found.canary_ms is not None else ""
    yield escape(f"{found.name}  {answer}")
    yield f"  tiny picture: {found.canary}{made}"
    if found.why:
        yield f"  {escape(found.why)}"
