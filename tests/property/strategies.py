"""Values for hypothesis: JSON of any kind, and graphs that look real but are often wrong."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

CLASSES = ("EmptyImage", "SaveImage", "ImageInvert", "KSampler", "LoadImage", "PreviewAny", "CLIPTextEncode")
IDS = ("1", "2", "3", "a", "1:2", "")

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
links = st.tuples(st.sampled_from(IDS) | st.integers(0, 3), st.integers(-1, 3)).map(list)
input_values = links | st.sampled_from([16, 1, "x", 0.5, "euler"]) | json_values
names = st.sampled_from(
    ["images", "image", "width", "height", "batch_size", "color", "filename_prefix", "seed", "text"]
)
inputs = st.dictionaries(names | st.text(max_size=6), input_values, max_size=5)
nodes = st.fixed_dictionaries(
    {"class_type": st.sampled_from(CLASSES), "inputs": inputs},
    optional={"_meta": st.fixed_dictionaries({"title": st.text(max_size=8)})},
)
odd_nodes = st.fixed_dictionaries({}, optional={"class_type": json_values, "inputs": json_values, "_meta": json_values})
graphs = st.dictionaries(st.sampled_from(IDS), nodes | odd_nodes | json_values, max_size=6)
good_graphs = st.dictionaries(st.sampled_from(IDS), nodes, min_size=1, max_size=6)
