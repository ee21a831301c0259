"""Composition: the one place that puts the parts together from settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from comfyops.errors import InputError, MissingExtraError
from comfyops.support.files import read_bytes
from comfyops.workflows import node_types
from comfyops.workflows.node_types import NodeTypes
from comfyops.workflows.opening import MAX_WORKFLOW as MAX_WORKFLOW
from comfyops.workflows.opening import Opened as Opened
from comfyops.workflows.opening import open_bytes as open_bytes
from comfyops.workflows.opening import open_workflow as open_workflow
from comfyops.workflows.opening import read_pins as read_pins

if TYPE_CHECKING:  # what only some commands need is imported where it is used: it takes longer than they do
    from comfyops.api.ops.app import AtWork
    from comfyops.api.ops.shelf import Shelf
    from comfyops.backends.comfyui import ComfyUI
    from comfyops.config import Settings
    from comfyops.gateway.mounts import ASGIApp
    from comfyops.gateway.settings import BackendAddress
    from comfyops.jobs.dispatcher import Dispatcher
    from comfyops.jobs.queue import Queue
    from comfyops.models.catalog import Catalog, Wanted
    from comfyops.models.provision import Provision
    from comfyops.models.rounds import Health
    from comfyops.models.sources import Web
    from comfyops.models.sources.peers import Peers
    from comfyops.models.storage import Storage
    from comfyops.models.trust import Trust
    from comfyops.support.proxies import Proxies
    from comfyops.workflows.library import Library


def connect(settings: Settings) -> ComfyUI:
    """A client for the configured server, to be used as an async context manager; nothing is sent before that."""
    from comfyops.backends.comfyui import ComfyUI

    return ComfyUI(
        settings.server,
        token=settings.token.get_secret_value() if settings.token else None,
        api_prefix=settings.api_prefix,
        timeout=settings.timeout,
        stall_timeout=settings.stall_timeout,
    )


async def server_node_types(settings: Settings) -> NodeTypes:
    """The node types of the configured server.

    Raises BackendError where it does not answer.
    """
    async with connect(settings) as backend:
        return await backend.node_types()


def offline_node_types(snapshot: Path | None = None, version: str = node_types.SHIPPED[0]) -> NodeTypes:
    """Node types without a server: from a recorded answer of GET /object_info, or those that come with the package.

    Raises MissingFileError, NotJsonError, NodeFactsError.
    """
    if snapshot is not None:
        return node_types.loads(read_bytes(snapshot), str(snapshot))
    return node_types.shipped(version)


def library(settings: Settings, folders: Sequence[Path] = (), saved: Sequence[str] = ()) -> Library:
    """The library: these folders, else the configured ones, workflows saved on a server, and official templates."""
    from comfyops.workflows.library import Library

    return Library(tuple(folders) or settings.library_folders, saved)


def open_queue(settings: Settings) -> Queue:
    """The durable queue, to be used as an async context manager; making it opens the database, which blocks.

    Raises MissingExtraError, DatabaseError, StorageError.
    """
    try:
        from comfyops.jobs.queue import Queue
    except ModuleNotFoundError as error:
        hint = "Install them: pip install 'comfyops[server]'."
        raise MissingExtraError("The parts that keep jobs are not installed.", hint=hint) from error
    folder = settings.queue_folder or settings.home / "queue"
    return Queue(settings.database.get_secret_value(), folder, max_waiting=settings.max_waiting)


@asynccontextmanager
async def queue_service(
    settings: Settings, name: str = "", backends: Sequence[str] = (), token: str = ""
) -> AsyncIterator[tuple[Queue, Dispatcher]]:
    """The queue with a dispatcher at work in this process. `backends` are added first, and are sent `token`.

    Raises as `open_queue`, DispatcherTakenError, UsageError for an address that cannot be.
    """
    from comfyops.jobs.clients import ClientSettings
    from comfyops.jobs.dispatcher import Dispatcher, DispatcherSettings
    from comfyops.jobs.exports import ExportSettings
    from comfyops.jobs.probing import ProbeSettings
    from comfyops.jobs.retention import Keep
    from comfyops.jobs.webhook_sender import SenderSettings

    client = ClientSettings(settings.timeout, settings.stall_timeout, api_prefix=settings.api_prefix)
    kept = settings.keep_jobs_days * 86_400
    secret = settings.job_webhook_secret.get_secret_value() if settings.job_webhook_secret else ""
    chosen = DispatcherSettings(
        lease=settings.worker_lease,
        client=client,
        probe=ProbeSettings(idle=settings.unload_idle_minutes and settings.unload_idle_minutes * 60),
        keep=Keep(kept, kept),
        sender=SenderSettings(secret, settings.job_webhook_private),
        exports=ExportSettings(settings.deliver_to, settings.deliver_name),
    )
    async with await asyncio.to_thread(open_queue, settings) as queue:
        for address in backends:
            await queue.fleet.add(address, token=token)
        async with Dispatcher(queue, name, chosen) as dispatcher:
            yield queue, dispatcher


def model_catalog(settings: Settings, files: Sequence[Path] = ()) -> Catalog:
    """All known models: the shipped ones, a person's own, and those of further catalog files, which go first.

    Raises MissingFileError, NotJsonError, CatalogError, UnsafeNameError.
    """
    from comfyops.models import user_catalog

    return user_catalog.whole(settings.home.expanduser() / user_catalog.NAME, files)


def model_storage(settings: Settings) -> Storage:
    """The folders of models that the settings mean: `models_dir`, else those of the ComfyUI at `comfyui_path`.

    Raises MissingFileError where there is no ComfyUI, InputError.
    """
    from comfyops.models import places, storage

    if settings.models_dir is not None:
        return storage.of_folder(str(settings.models_dir))
    given = settings.comfyui_path
    return storage.of_comfyui(places.find(str(given) if given is not None else None))


def model_trust(settings: Settings) -> Trust:
    """Which addresses models may come from, and whose tokens are sent where.

    A mirror is told the token of what it stands for only where `model_hosts` names it. Raises UsageError.
    """
    from comfyops.models import trust

    own, plain = trust.parse_hosts(settings.model_hosts)
    civitai = settings.civitai_token.get_secret_value() if settings.civitai_token else None
    tokens: dict[str, str] = {}
    mirrors: set[str] = set()
    for home, mirror, token in (
        ("huggingface.co", settings.hf_endpoint, settings.hub_token),
        ("civitai.com", settings.civitai_endpoint, civitai),
    ):
        place = trust.place_of(mirror) if mirror else home
        mirrors.add(place)
        if token and (not mirror or place in own or place == home):
            tokens[place] = trust.checked_token(token, home)
    peers = {trust.place_of(address): address for address in model_peers(settings).addresses}
    if settings.peer_token is not None:
        tokens |= dict.fromkeys(peers, trust.checked_token(settings.peer_token.get_secret_value(), "peers"))
    plain |= {place for place, address in peers.items() if address.startswith("http:")}
    return trust.Trust(own | peers.keys() | mirrors - trust.HOSTS, plain, tokens, proxies=web_proxies(settings))


def model_peers(settings: Settings) -> Peers:
    """The machines that share their models with this one.

    Raises UsageError.
    """
    from comfyops.models.sources import peers

    return peers.parse(settings.peers)


def web_proxies(settings: Settings) -> Proxies:
    """What stands between this machine and the web. Peers are of one's own network and asked directly.

    Raises UsageError.
    """
    from comfyops.support import proxies

    given = (settings.http_proxy, settings.https_proxy)
    http, https = (item.get_secret_value() if item is not None else "" for item in given)
    peers = ",".join(urlsplit(address).netloc for address in model_peers(settings).addresses)
    return proxies.parse(http, https, f"{settings.no_proxy},{peers}")


def model_provision(storage: Storage, settings: Settings, *, allow_pickle: bool = False) -> Provision:
    """What checks, plans and fetches the models of a storage.

    Raises UsageError for a setting that makes no sense.
    """
    from comfyops.models.provision import Provision
    from comfyops.models.sources.folders import ModelFolders
    from comfyops.models.transfer.request import TransferSettings

    web = model_web(settings)
    transfer = TransferSettings(allow=web.trust.allow, token_for=web.trust.token_for, proxies=web.proxies)
    folders = ModelFolders(settings.source_folders, settings.hub_cache)
    peers = model_peers(settings)
    return Provision(storage, web, transfer, allow_pickle=allow_pickle, folders=folders, peers=peers)


def model_web(settings: Settings) -> Web:
    """What asks the sources of models.

    Raises UsageError for a setting that makes no sense.
    """
    from comfyops.models.sources import Web, buckets

    endpoints = {"https://huggingface.co": settings.hf_endpoint, "https://civitai.com": settings.civitai_endpoint}
    mirrors = {home: mirror for home, mirror in endpoints.items() if mirror}
    allowed, through = buckets.parse(settings.model_buckets), web_proxies(settings)
    return Web(model_trust(settings), settings.offline, endpoints=mirrors, buckets=allowed, proxies=through)


def server_web(settings: Settings) -> Web:
    """What asks the configured ComfyUI server about its manager; no other host, and with the server's own token.

    Raises UntrustedSourceError where its address makes no sense.
    """
    from comfyops.models import trust
    from comfyops.models.sources import Web

    place = frozenset({trust.place_of(settings.server)})
    tokens = {next(iter(place)): settings.token.get_secret_value()} if settings.token else {}
    return Web(trust.Trust(place, place, tokens), timeout=settings.timeout, attempts=2)


def model_health(provision: Provision, wanted: Sequence[Wanted], settings: Settings, **options: Any) -> Health:
    """What watches the health of models; `options` are further fields of it, such as the file of figures.

    Raises UsageError for a webhook that makes no sense.
    """
    from comfyops.models.health_record import file_of
    from comfyops.models.rounds import Health
    from comfyops.support.webhooks import Receiver

    receiver = None
    if settings.alert_webhook:
        secret = settings.alert_webhook_secret.get_secret_value() if settings.alert_webhook_secret else ""
        receiver = Receiver(settings.alert_webhook, secret, settings.alert_webhook_private)
    record = file_of(settings.home, provision.storage.root)
    return Health(provision, wanted, record, receiver=receiver, **options)


@asynccontextmanager
async def ops_mounts(
    settings: Settings, backends: Sequence[BackendAddress], work: AtWork | None = None
) -> AsyncIterator[dict[str, ASGIApp]]:
    """The operators' page and API, to be mounted at the gateway: by prefix. Downloads end, and are kept, on leaving.

    Without a folder of models the page shows backends only; with a queue (`work`), those of its fleet. Raises
    UsageError for a setting that makes no sense.
    """
    from comfyops.api.ops import app as ops
    from comfyops.api.ops.backends import Backends, Target
    from comfyops.web import pages

    async def fleet() -> list[Target]:
        assert work is not None
        return [Target(url, token or None) for url, token in await work.queue.fleet.addresses()]

    asked = Backends([Target(item.url, item.credential) for item in backends], read=fleet if work else None)
    try:
        shelf = model_shelf(settings, backends)
    except InputError:  # there is no ComfyUI on this machine, and no folder was named
        shelf = None
    api = ops.build(asked, shelf, work)
    try:
        yield {"/ops": pages.page(), **dict.fromkeys((*ops.PREFIXES, "/metrics"), api)}
    finally:
        if shelf is not None:
            await asyncio.to_thread(shelf.downloads.close)


def model_shelf(settings: Settings, backends: Sequence[BackendAddress] = ()) -> Shelf:
    """The models of the configured folder, for the API. Raises InputError where there is none, UsageError."""
    from comfyops.api.ops.shelf import Shelf
    from comfyops.models import trust
    from comfyops.models.downloads import Downloads
    from comfyops.models.sources import Web

    storage = model_storage(settings)

    def provision() -> Provision:
        return model_provision(storage, settings)

    webs = {}
    for item in backends:
        place = frozenset({trust.place_of(item.url)})
        tokens = {next(iter(place)): item.credential} if item.credential else {}
        webs[item.url] = Web(trust.Trust(place, place, tokens), timeout=settings.timeout, attempts=2)
    where = {"models_dir": str(storage.root)}
    downloads = Downloads(provision(), settings.home.expanduser(), where)
    return Shelf(lambda: model_catalog(settings), provision, downloads, webs, settings.offline)
