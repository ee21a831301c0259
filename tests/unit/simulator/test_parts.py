"""The parts of the simulator that decide something, each alone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyops.simulator.cache import Cache, Entry, link_of, signatures
from comfyops.simulator.call import InterruptedRun, NodeResult
from comfyops.simulator.files import Folders, RefusedPathError
from comfyops.simulator.host import Interrupt
from comfyops.simulator.jobs import finished_job
from comfyops.simulator.mapping import check_arguments, merge_outputs, merge_ui
from comfyops.simulator.ordering import Ordering
from comfyops.simulator.queue import Item, Queue
from comfyops.simulator.submission import RefusedError, ServerTroubleError, accept, is_job_id, number_of
from comfyops.simulator.templates import templates
from comfyops.workflows.node_types import shipped

TYPES = shipped()


def item(number: float, serial: int, prompt_id: str = "", *, twins_clash: bool = False) -> Item:
    """A queued item."""
    return Item(number, prompt_id or f"id-{serial}", {}, {}, (), serial, twins_clash=twins_clash)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=20))
def test_queue_gives_out_items_by_number(numbers: list[int]) -> None:
    async def taken() -> list[float]:
        queue = Queue(lambda: None)
        for serial, number in enumerate(numbers):
            queue.put(item(number, serial))
        return [(await queue.take()).number for _ in numbers]

    assert asyncio.run(taken()) == sorted(numbers)


async def test_deleting_takes_one_item_of_an_id() -> None:
    changes: list[int] = []
    queue = Queue(lambda: changes.append(1))
    for serial in range(3):
        queue.put(item(serial, serial, "same"))
    assert queue.delete("same") is True
    assert queue.delete("other") is False
    assert queue.remaining == 2
    assert len(changes) == 4


async def test_clashing_twins_stay_in_the_queue_though_putting_fails() -> None:
    queue = Queue(lambda: None)
    queue.put(item(5, 1, "twin", twins_clash=True))
    with pytest.raises(TypeError):
        queue.put(item(5, 2, "twin", twins_clash=True))
    assert queue.remaining == 2


@pytest.mark.parametrize(
    ("value", "link"),
    [
        (["1", 0], ("1", 0)),
        (["1", -1], ("1", -1)),
        (["1", True], ("1", True)),
        (["1", 0.5], ("1", 0.5)),
        ([1, 0], None),
        (["1"], None),
        ("1", None),
    ],
)
def test_links_are_recognised_as_the_server_does(value: Any, link: Any) -> None:
    assert link_of(value) == link


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """One node in API format."""
    return {"class_type": class_type, "inputs": inputs}


def test_signatures_depend_on_everything_upstream_and_not_on_ids() -> None:
    def signed(colour: int, first: str = "1", second: str = "2") -> str:
        prompt = {first: node("EmptyImage", color=colour), second: node("ImageInvert", image=[first, 0])}
        return signatures(prompt, lambda _, each: [each["class_type"], each["inputs"].get("color")])[second]

    assert signed(1) == signed(1, "x", "y")
    assert signed(1) != signed(2)


def test_signatures_survive_cycles_dangling_links_and_deep_chains() -> None:
    cycle = {"1": node("A", x=["2", 0]), "2": node("A", x=["1", 0]), "3": node("A", x=["nowhere", 0])}
    assert set(signatures(cycle, lambda key, _: key)) == {"1", "2", "3"}
    chain = {str(number): node("A", x=[str(number - 1), 0]) for number in range(3000)}
    assert len(signatures(chain, lambda key, _: key)) == 3000


def test_cache_drops_what_the_next_prompt_does_not_use() -> None:
    cache = Cache(TYPES, lambda *_: "")
    first = {"1": node("EmptyImage", color=1)}
    cache.begin(first)
    cache.set("1", Entry(([1],), None))
    cache.begin({"2": node("EmptyImage", color=1)})
    assert cache.get("2") is not None
    cache.begin({"1": node("EmptyImage", color=2)})
    cache.begin(first)
    assert cache.get("1") is None


def order(prompt: dict[str, Any], outputs: list[str]) -> list[str]:
    """The order in which nodes of a prompt run."""
    ordering = Ordering(prompt, lambda _: False, lambda key: key in outputs, lambda *_: False)
    for output in outputs:
        ordering.add(output)
    found = []
    while (key := ordering.next()) is not None:
        found.append(key)
        ordering.done(key)
    return found


def test_only_needed_nodes_run_and_outputs_as_early_as_they_can() -> None:
    prompt = {
        "1": node("A"),
        "2": node("A", x=["1", 0]),
        "3": node("Save", x=["1", 0]),
        "4": node("Save", x=["2", 0]),
        "5": node("A"),
    }
    found = order(prompt, ["4", "3"])
    assert sorted(found) == ["1", "2", "3", "4"]
    assert found.index("3") < found.index("2")


@given(st.data())
def test_every_node_runs_after_what_it_needs(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    prompt = {}
    for number in range(count):
        sources = data.draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else ()
        prompt[str(number)] = node("A", **{f"x{source}": [str(source), 0] for source in sources})
    found = order(prompt, [str(count - 1)])
    for key in found:
        links = [value[0] for value in prompt[key]["inputs"].values()]
        assert all(found.index(source) < found.index(key) for source in links)


def test_outputs_of_several_calls_are_joined_by_the_rules_for_lists() -> None:
    plain, listed = TYPES["EmptyImage"], TYPES["ImageFromBatch"]
    assert merge_outputs([NodeResult((1,)), NodeResult((2,))], plain) == ([1, 2],)
    assert merge_outputs([NodeResult((1,))], listed) == ([1],)
    lists = next(each for each in TYPES.values() if len(each.outputs) == 1 and each.outputs[0].is_list)
    assert merge_outputs([NodeResult(([1, 2],)), NodeResult(([3],))], lists) == ([1, 2, 3],)
    assert merge_ui([NodeResult((), {"text": ["a"]}), NodeResult(), NodeResult((), {"text": ["b"]})]) == {
        "text": ["a", "b"]
    }
    assert merge_ui([NodeResult()]) is None


def test_arguments_that_a_node_does_not_have_are_errors_in_pythons_words() -> None:
    batch = TYPES["BatchImagesNode"]
    with pytest.raises(TypeError, match=r"unexpected keyword argument .images\.image60."):
        check_arguments(batch, ["images.image0", "images.image60"], {"images.image0"})
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'images'"):
        check_arguments(batch, [], set())


async def test_interrupt_ends_a_sleep_once() -> None:
    interrupt = Interrupt()
    sleeping = asyncio.create_task(interrupt.sleep(30))
    await asyncio.sleep(0)
    interrupt.set()
    with pytest.raises(InterruptedRun):
        await asyncio.wait_for(sleeping, 5)
    await interrupt.sleep(0)


@pytest.mark.parametrize(
    ("name", "subfolder", "status"),
    [
        ("", None, 400),
        ("/etc/passwd", None, 400),
        ("a..b.png", None, 400),
        ("..\\..\\x", None, 400),
        ("x.png", "../..", 403),
        ("x.png", "/etc", 403),
        ("nope.png", None, 404),
        ("x\0.png", None, 404),
    ],
)
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str, subfolder: str, status: int) -> None:
    folders = Folders(tmp_path)
    folders.prepare()
    with pytest.raises(RefusedPathError) as refused:
        folders.view(name, "output", subfolder)
    assert refused.value.status == status


def test_annotated_names_choose_their_folder(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.prepare()
    (folders.temp / "p.png").write_bytes(b"x")
    assert folders.view("p.png [temp]", "output", None) == folders.temp / "p.png"
    assert folders.input_file("p.png [temp]") == folders.temp / "p.png"
    assert folders.input_file("p.png") is None
    assert folders.input_file("../temp/p.png") is None


@given(st.text())
def test_only_canonical_uuids_are_job_ids(text: str) -> None:
    assert not is_job_id(text)
    assert is_job_id("00000000-0000-4000-8000-00000000abcd")
    assert not is_job_id("00000000-0000-4000-8000-00000000ABCD")


@pytest.mark.parametrize(("body", "number"), [({}, 3), ({"front": True}, -3), ({"number": "1.5"}, 1.5), ([], 3)])
def test_numbers_follow_the_counter_unless_one_is_given(body: Any, number: float) -> None:
    assert number_of(body, 3)[0] == number


@pytest.mark.parametrize("body", [None, 1, {"number": "x"}, {"number": None}])
def test_impossible_numbers_are_server_errors(body: Any) -> None:
    with pytest.raises(ServerTroubleError):
        number_of(body, 0)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(_json, st.booleans())
def test_any_json_is_accepted_refused_or_a_server_error(prompt: Any, modern: bool) -> None:
    types = shipped("0.33.0" if modern else "0.8.0")
    with pytest.raises((RefusedError, ServerTroubleError)):
        accept({"prompt": prompt}, types, lambda *_: False, modern=modern, usage_source=None)


def test_job_previews_prefer_saved_pictures_to_temporary_ones_to_text() -> None:
    outputs = {
        "1": {"text": ["hello"]},
        "2": {"images": [{"filename": "a.png", "type": "temp"}]},
        "3": {"images": [{"filename": "b.png", "type": "output"}], "animated": [True]},
    }
    entry = {
        "prompt": [1, "id", {}, {"create_time": 5}, []],
        "outputs": outputs,
        "status": {"status_str": "success", "completed": True, "messages": []},
    }
    job = finished_job(entry, modern=True)
    assert (job["preview_output"]["filename"], job["outputs_count"]) == ("b.png", 2)
    entry["outputs"] = {"1": {"text": ["x" * 2000]}}
    assert finished_job(entry, modern=True)["preview_output"]["truncated"] is True
    assert "preview_output" not in finished_job(entry, modern=False)


def test_templates_use_classes_and_models_that_are_there() -> None:
    found = templates({"checkpoints": ("v1-5-x.safetensors",)})
    assert list(found) == ["simulated_text_to_image", "simulated_inverted_colour"]
    for template in found.values():
        workflow = template.workflow()
        assert all(each["type"] in TYPES for each in workflow["nodes"])
        assert workflow["last_link_id"] == len(workflow["links"])
    assert list(templates({})) == ["simulated_inverted_colour"]
