"""Readers of files take anything: what is no workflow is refused in words, what is one survives unchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from comfyops.errors import ComfyOpsError
from comfyops.storyboard import yaml_file
from comfyops.workflows import api_format, embedded, node_types
from comfyops.workflows.graph import Graph
from tests.property.strategies import good_graphs, graphs, json_values

anything = st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))
PNG = b"\x89PNG\r\n\x1a\n"


def read(data: bytes) -> Graph | None:
    """The graph, None where the bytes are refused."""
    try:
        return embedded.read(data)
    except ComfyOpsError as error:
        assert error.message and error.code
        return None


@given(anything)
@example(b"[" * 100_000)
@example(b"9" * 5000)
@example(b'{"a":' * 5000)
@example(b"\xef\xbb\xbf{}")
def test_any_bytes_are_a_graph_or_refused(data: bytes) -> None:
    read(data)
    read(PNG + data)


@given(st.binary(max_size=60), st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"IDAT"]))
def test_any_chunk_in_a_picture_is_read_or_refused(body: bytes, kind: bytes) -> None:
    chunk = len(body).to_bytes(4, "big") + kind + body + bytes(4)
    read(PNG + chunk + bytes(4) + b"IEND" + bytes(4))


@given(json_values | graphs)
def test_any_json_is_a_graph_or_refused(data: Any) -> None:
    text = json.dumps(data)
    graph = read(text.encode())
    assume(graph is not None)
    assert graph is not None and json.loads(api_format.dumps(graph)) is not None


@given(good_graphs)
def test_a_graph_survives_being_written_and_read(data: dict[str, Any]) -> None:
    graph = api_format.parse(data)
    again = api_format.loads(api_format.dumps(graph))
    assert list(again.nodes) == list(data)
    # Compared as texts: NaN is a value of JSON as Python reads it, and does not equal itself.
    assert api_format.dumps(again) == api_format.dumps(graph)
    for key, node in data.items():
        assert json.dumps(api_format.dump(again)[key]["inputs"]) == json.dumps(node["inputs"])


@given(json_values)
def test_any_json_is_node_facts_or_refused(data: Any) -> None:
    for value in (data, {"X": {"input": data, "output": data}}, {"X": {"input": {"required": data}, "output": []}}):
        try:
            types = node_types.loads(json.dumps(value))
            assert all(types[name].name == name for name in types)
        except ComfyOpsError as error:
            assert error.message


@given(anything | st.text(alphabet="ab:-[]{}'\"|>&*! \n\t#,", max_size=60).map(str.encode))
def test_any_text_is_a_storyboard_or_refused(data: bytes) -> None:
    try:
        yaml_file.loads(data, Path("folder"))
    except ComfyOpsError as error:
        assert error.message
