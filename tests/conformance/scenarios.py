"""Recordings that are a story: what somebody did, and what came over the websocket or was found afterwards."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from tests.conformance.normal import normal
from tests.conformance.outcome import Outcome
from tests.conformance.replay import Server, Socket, serve, settled

Data = Mapping[str, Any]
Story = Callable[[str, Any], AsyncIterator[Outcome]]

FLAGS = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}


def transcript(messages: list[dict[str, Any]], *, steps: bool = True) -> list[Any]:
    """Websocket messages as comparable values; `steps=False` leaves out how far a sampler got."""
    kept = [message for message in messages if not message.get("closed")]
    if not steps:
        kept = [message for message in kept if message.get("type") not in ("progress", "progress_state")]
    return [normal(_described(message)) for message in kept]


def _described(message: dict[str, Any]) -> dict[str, Any]:
    if message.get("binary"):
        return {key: message[key] for key in ("event_type", "image_format", "metadata") if key in message}
    return {key: message[key] for key in ("type", "data")}


def entry(history: Any) -> Any:
    """The one entry of a recorded or fetched history."""
    return next(iter(history.values()))


def ending(messages: list[dict[str, Any]]) -> bool:
    """Whether the last message of a run is there."""
    last = messages[-1] if messages else {}
    return last.get("type") == "executing" and last["data"]["node"] is None


async def finish(server: Server, socket: Socket) -> list[dict[str, Any]]:
    """All messages of a socket up to the end of the run."""
    for _ in range(4000):
        if ending(socket.messages):
            return socket.take()
        await settled(socket, len(socket.messages) + 1, 0.005)
    raise TimeoutError("the run did not end")


async def warm(server: Server, prompt: Any, extra: Mapping[str, Any] | None = None) -> None:
    """Run a prompt with another seed first, so that all but its sampler is cached."""
    other = copy.deepcopy(prompt)
    other["3"]["inputs"]["seed"] += 1
    await server.post(other, extra_data=dict(extra or {}))
    await server.idle()


def extra_of(history: Any) -> dict[str, Any]:
    """What the recorded client sent as extra_data."""
    given = entry(history)["prompt"][3]
    return {key: value for key, value in given.items() if key not in ("client_id", "create_time")}


async def run_then_cached(version: str, data: Data) -> AsyncIterator[Outcome]:
    """The same prompt twice."""
    prompt = entry(data["history_first"])["prompt"][2]
    async with serve(version) as server:
        await warm(server, prompt)
        socket = await server.socket()
        sid = socket.messages[0]["data"]["sid"]
        for part, history in (("first_messages", "history_first"), ("cached_messages", "history_cached")):
            answer = await server.post(prompt, client_id=sid)
            messages = await finish(server, socket)
            yield Outcome(version, f"{part} messages", transcript(data[part]), transcript(messages))
            found = await server.get(f"/history/{answer['json']['prompt_id']}")
            yield Outcome(version, history, normal(entry(data[history])), normal(entry(found)))


async def previews(version: str, data: Data) -> AsyncIterator[Outcome]:
    """A run with previews, with or without feature flags."""
    prompt, extra = entry(data["history"])["prompt"][2], extra_of(data["history"])
    flagged = any(message.get("type") == "feature_flags" for message in data["messages"])
    cached = entry(data["history"])["status"]["messages"][1][1]["nodes"]
    async with serve(version) as server:
        if cached:
            await warm(server, prompt, extra)
        socket = await server.socket()
        if flagged:
            await socket.ws.send_json(FLAGS)
            await settled(socket, 2)
        await server.post(prompt, client_id=socket.messages[0]["data"]["sid"], extra_data=extra)
        messages = await finish(server, socket)
        yield Outcome(version, "messages", transcript(data["messages"]), transcript(messages))


async def failing(version: str, data: Data) -> AsyncIterator[Outcome]:
    """A prompt whose node fails."""
    async with serve(version) as server:
        (server.simulator.folders.input / "corrupt.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
        socket = await server.socket("client")
        socket.take()
        answer = await server.post(data["prompt"], client_id="client")
        messages = await finish(server, socket)
        yield Outcome(version, "messages", transcript(data["messages"]), transcript(messages))
        found = await server.get(f"/history/{answer['json']['prompt_id']}")
        expected = _without_client(normal(entry(data["history"])))
        yield Outcome(version, "history", expected, _without_client(normal(entry(found))))


def _without_client(history: Any) -> Any:
    history["prompt"][3].pop("client_id", None)
    return history


async def interrupted(version: str, data: Data) -> AsyncIterator[Outcome]:
    """A running prompt that is interrupted by its id."""
    prompt = entry(data["history"])["prompt"][2]
    prompt_id = entry(data["history"])["prompt"][1]
    async with serve(version, seconds_per_step=0.05) as server:
        if entry(data["history"])["status"]["messages"][1][1]["nodes"]:
            await warm(server, {**prompt, "3": _with(prompt["3"], steps=1)})
        socket = await server.socket("client")
        socket.take()
        await server.post(prompt, client_id="client", prompt_id=prompt_id)
        while not any(message.get("type") == "progress" for message in socket.messages):
            await settled(socket, len(socket.messages) + 1)
        for call in data["interrupt_calls"]:
            answer = await server.send(call["request"])
            yield Outcome(version, call["note"], call["response"]["status"], answer["status"])
        messages = await finish(server, socket)
        expected = transcript(data["messages"], steps=False)
        yield Outcome(version, "messages", expected, transcript(messages, steps=False))
        found = _without_client(normal(entry(await server.get(f"/history/{prompt_id}"))))
        yield Outcome(version, "history", _without_client(normal(entry(data["history"]))), found)


def _with(node: Any, **inputs: Any) -> Any:
    return {**node, "inputs": {**node["inputs"], **inputs}}


async def bad_messages(version: str, data: Data) -> AsyncIterator[Outcome]:
    """A socket that sends nonsense before its feature flags."""
    prompt = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 1}},
        "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "t", "images": ["1", 0]}},
    }
    async with serve(version) as server:
        socket = await server.socket()
        await socket.ws.send_str("garbage{")
        await socket.ws.send_str("[1]")
        await socket.ws.send_bytes(b"\0\1")
        await socket.ws.send_json(FLAGS)
        await settled(socket, 2)
        sid = socket.messages[0]["data"]["sid"]
        yield Outcome(version, "before the run", transcript(data["log_before_run"]), transcript(socket.take()))
        await server.post(prompt, client_id=sid)
        messages = await finish(server, socket)
        yield Outcome(version, "run", transcript(data["run_with_assigned_sid"]), transcript(messages))


async def overlapping(version: str, data: Data) -> AsyncIterator[Outcome]:
    """Two sockets with one client id; then the older one closes."""
    prompt = _sd15(2)
    async with serve(version) as server:
        if _cached_nodes(data["run1_w2"]):
            await warm(server, prompt)
        same = data["run1_w1"][0]["data"]["sid"]
        older, newer = await server.socket(same), await server.socket(same)
        await server.post(prompt, client_id=same)
        messages = await finish(server, newer)
        yield Outcome(version, "newer socket", transcript(data["run1_w2"]), transcript(messages))
        yield Outcome(version, "older socket", transcript(data["run1_w1"]), transcript(older.take()))
        await older.ws.close()
        await server.idle()
        await server.post(_sd15(2, seed=7), client_id=same)
        await server.idle()
        yield Outcome(version, "newer socket after the older closed", data["run2_w2"], newer.take())


async def observer(version: str, data: Data) -> AsyncIterator[Outcome]:
    """A socket with feature flags, while somebody without a client id runs a prompt with previews."""
    async with serve(version) as server:
        socket = await server.socket(data["observer"][0]["data"]["sid"])
        await socket.ws.send_json(FLAGS)
        await settled(socket, 2)
        await server.post(_sd15(3), extra_data={"preview_method": "latent2rgb"})
        await server.idle()
        await settled(socket, len(data["observer"]), 2)
        yield Outcome(version, "observer", transcript(data["observer"]), transcript(socket.take()))


async def negotiation(version: str, data: Data) -> AsyncIterator[Outcome]:
    """Feature flags."""
    async with serve(version) as server:
        socket = await server.socket()
        await socket.ws.send_json(data["sent"])
        await settled(socket, 2)
        yield Outcome(version, "flags", transcript(data["received"]), transcript(socket.take()))


async def cached_history(version: str, data: Data) -> AsyncIterator[Outcome]:
    """What history says of a cached run, with and without a client id."""
    async with serve(version) as server:
        for name, history in data.items():
            item = entry(history) if "prompt" not in history else history
            client = item["prompt"][3].get("client_id")
            more = {} if client is None else {"client_id": client}
            answer = await server.post(item["prompt"][2], **more)
            await server.idle()
            found = entry(await server.get(f"/history/{answer['json']['prompt_id']}"))
            if name not in ("first", "cached_without_client_id", "cached_with_client_id"):
                name = "unconnected client"  # the only entry of that recording; its prompt had run before
                await server.post(item["prompt"][2], **more)
                await server.idle()
                found = list((await server.get("/history")).values())[-1]
            yield Outcome(version, name, normal(item), normal(found))


async def output_kinds(version: str, data: Data) -> AsyncIterator[Outcome]:
    """Every kind of output; the order of outputs is that of a Python set, so messages are compared node by node."""
    for part in ("legacy", "flags"):
        history = entry(data[part]["history"])
        async with serve(version) as server:
            prompt = history["prompt"][2]
            if history["status"]["messages"][1][1]["nodes"]:
                await server.post({**prompt, "1": _with(prompt["1"], color=1)})
                await server.idle()
            socket = await server.socket()
            if part == "flags":
                await socket.ws.send_json(FLAGS)
                await settled(socket, 2)
            answer = await server.post(history["prompt"][2], client_id=socket.messages[0]["data"]["sid"])
            messages = await finish(server, socket)
            yield Outcome(version, part, _by_node(data[part]["messages"]), _by_node(messages))
            found = entry(await server.get(f"/history/{answer['json']['prompt_id']}"))
            yield Outcome(version, f"{part} outputs", normal(history["outputs"]), normal(found["outputs"]))
    yield await _partial(version, data["partial_outputs_on_error"])


async def _partial(version: str, data: Data) -> Outcome:
    async with serve(version) as server:
        (server.simulator.folders.input / "corrupt.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
        history = entry(data["history"])
        answer = await server.post(history["prompt"][2], client_id="perr")
        await server.idle()
        found = entry(await server.get(f"/history/{answer['json']['prompt_id']}"))
        return Outcome(version, "partial outputs of a failed run", normal(history), normal(found))


def _by_node(messages: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for message in transcript(messages):
        if message.get("type") == "progress_state":
            continue
        data = message.get("data") or message.get("metadata") or {}
        node = data.get("node") or data.get("node_id") or "-"
        found.setdefault(node, []).append(message)
    return found


def _cached_nodes(messages: list[dict[str, Any]]) -> list[str]:
    return next((item["data"]["nodes"] for item in messages if item.get("type") == "execution_cached"), [])


def _sd15(steps: int, seed: int = 1) -> dict[str, Any]:
    """The small Stable Diffusion graph of the recordings."""
    sampler = {"seed": seed, "steps": steps, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal"}
    links = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15_tiny_random_fp16.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red fox in the snow", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
        "3": {"class_type": "KSampler", "inputs": {**sampler, "denoise": 1.0, **links}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ws", "images": ["8", 0]}},
    }


STORIES: Mapping[str, Story] = {
    "history_cached_no_client_id": cached_history,
    "history_cached_unconnected_client_id": cached_history,
    "output_kinds": output_kinds,
    "ws_execution_error_corrupt_image": failing,
    "ws_execution_error_scalar_link": failing,
    "ws_feature_flags_negotiation": negotiation,
    "ws_flagged_observer_broadcast": observer,
    "ws_interrupted_targeted": interrupted,
    "ws_no_client_id_and_bad_messages": bad_messages,
    "ws_overlapping_sockets_same_client_id": overlapping,
    "ws_run_preview_flags": previews,
    "ws_run_preview_legacy": previews,
    "ws_run_then_cached": run_then_cached,
}
