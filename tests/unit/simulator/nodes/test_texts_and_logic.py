"""Texts, numbers and switches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .support import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("class_type", "inputs", "expected"),
    [
        ("StringConcatenate", {"string_a": "a", "string_b": "b", "delimiter": "-"}, "a-b"),
        ("StringSubstring", {"string": "hello", "start": 1, "end": -1}, "ell"),
        ("StringLength", {"string": "héé"}, 3),
        ("CaseConverter", {"string": "heLLo wOrld", "mode": "Capitalize"}, "Hello world"),
        ("StringTrim", {"string": " x ", "mode": "Left"}, "x "),
        ("StringReplace", {"string": "abca", "find": "a", "replace": "x"}, "xbcx"),
        ("StringContains", {"string": "aBc", "substring": "bc", "case_sensitive": False}, True),
        (
            "StringCompare",
            {"string_a": "abc", "string_b": "bc", "mode": "Ends With", "case_sensitive": True},
            True,
        ),
        ("RegexMatch", {"string": "Abc", "regex_pattern": "^a.c"}, True),
        (
            "RegexExtract",
            {"string": "a1 b2", "regex_pattern": r"(\w)(\d)", "mode": "All Groups", "group_index": 2},
            "1\n2",
        ),
        ("RegexExtract", {"string": "a1", "regex_pattern": r"(\w", "mode": "First Match"}, ""),
        ("RegexReplace", {"string": "a1b2", "regex_pattern": r"\d", "replace": "#", "count": 1}, "a#b2"),
        ("JsonExtractString", {"json_string": '{"a": 1.5}', "key": "a"}, "1.5"),
        ("JsonExtractString", {"json_string": "no json", "key": "a"}, ""),
        ("StringFormat", {"f_string": "{a}-{b:03d}", "values.a": "x", "values.b": 5}, "x-005"),
        ("PrimitiveInt", {"value": "7"}, 7),
        ("PrimitiveString", {"value": "x"}, "x"),
        ("ComfySwitchNode", {"switch": True, "on_false": 1, "on_true": 2}, 2),
        ("ComfyAndNode", {"values.value0": 1, "values.value1": 0}, False),
        ("ComfyOrNode", {"values.value0": 1, "values.value1": 0}, True),
        ("ComfyNotNode", {"value": ""}, True),
        ("PrimitiveBoundingBox", {"x": 1, "y": 2, "width": 3, "height": 4}, {"x": 1, "y": 2, "width": 3, "height": 4}),
    ],
)
async def test_value(bench: Bench, class_type: str, inputs: dict[str, Any], expected: Any) -> None:
    assert await bench.out(class_type, **inputs) == expected


@pytest.mark.parametrize(
    ("expression", "values", "expected"),
    [
        ("a + b*2", {"a": 3, "b": 1.5}, (6.0, 6, True)),
        ("max(a, 2)**3 if a > 2 else 0", {"a": 3}, (27.0, 27, True)),
        ("sum(values) / 4", {"a": 1, "b": 2}, (0.75, 0, True)),
        ("a > 1 and a < 2", {"a": 3}, (0.0, 0, False)),
        ("-7 // 2", {}, (-4.0, -4, True)),
    ],
)
async def test_expressions(bench: Bench, expression: str, values: dict[str, Any], expected: Any) -> None:
    inputs = {f"values.{name}": value for name, value in values.items()}
    assert (await bench.run("ComfyMathExpression", expression=expression, **inputs)).outputs == expected


@pytest.mark.parametrize(
    "expression", ["__import__('os')", "a.real", "9**9**9", "(lambda: 1)()", "[1][0]", "1 +", "'x'", "1e400"]
)
async def test_what_is_not_arithmetic_is_refused(bench: Bench, expression: str) -> None:
    with pytest.raises(ValueError, match=r"expression|too large"):
        await bench.run("ComfyMathExpression", expression=expression, **{"values.a": 1})


async def test_formats_cannot_reach_into_values(bench: Bench) -> None:
    with pytest.raises(ValueError, match="plain names"):
        await bench.run("StringFormat", f_string="{a.__class__}", **{"values.a": "x"})


@pytest.mark.parametrize(
    ("ratio", "megapixels", "multiple", "size"),
    [("1:1 (Square)", 1.0, 8, (1024, 1024)), ("16:9 (Widescreen)", 1.0, 8, (1368, 768))],
)
async def test_resolutions(bench: Bench, ratio: str, megapixels: float, multiple: int, size: tuple[int, int]) -> None:
    result = await bench.run("ResolutionSelector", aspect_ratio=ratio, megapixels=megapixels, multiple=multiple)
    assert result.outputs == size


async def test_preview_any_shows_texts_numbers_and_objects(bench: Bench) -> None:
    assert (await bench.run("PreviewAny", source="x")).ui == {"text": ("x",)}
    assert (await bench.run("PreviewAny", source=1.0)).ui == {"text": ("1.0",)}
    assert (await bench.run("PreviewAny", source={"a": 1})).ui == {"text": ('{\n    "a": 1\n}',)}


async def test_sound_is_cut_split_and_joined(bench: Bench) -> None:
    silence = await bench.out("EmptyAudio", duration=2.0, sample_rate=8000, channels=2)
    assert silence.samples.shape == (2, 16000)
    part = await bench.out("TrimAudioDuration", audio=silence, start_index=-0.5, duration=9.0)
    assert part.seconds == 0.5
    left, right = (await bench.run("SplitAudioChannels", audio=part)).outputs
    joined = await bench.out("JoinAudioChannels", audio_left=left, audio_right=right)
    assert joined.samples.shape == (2, 4000)
    both = await bench.out("AudioConcat", audio1=silence, audio2=part, direction="after")
    assert both.seconds == 2.5


async def test_videos_are_cut_by_time(bench: Bench) -> None:
    frames = np.repeat(np.arange(10, dtype=np.float32)[:, None, None, None] / 10, 3, -1)
    video = await bench.out("CreateVideo", images=frames, fps=5.0)
    part = await bench.out("Video Slice", video=video, start_time=0.4, duration=0.6, strict_duration=False)
    assert np.allclose(part.frames[:, 0, 0, 0], (0.2, 0.3, 0.4))
    with pytest.raises(ValueError, match="ends after"):
        await bench.run("Video Slice", video=video, start_time=1.0, duration=9.0, strict_duration=True)


def test_without_the_extra_the_error_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['numpy'] = sys.modules['av'] = None\n"
        "import comfyops.simulator\n"
        "from comfyops.errors import MissingExtraError\n"
        "from comfyops.simulator.nodes import function_for\n"
        "from comfyops.workflows.node_types import shipped\n"
        "try: function_for(shipped()['SaveImage'])\n"
        "except MissingExtraError as error: print(error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "pip install 'comfyops[simulator]'" in done.stdout, done.stderr
