"""Any project written as YAML is read back as the same project."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comfyops import storyboard
from comfyops.storyboard import seeds, yaml_file
from comfyops.storyboard.project import (
    Character,
    ControlNet,
    IPAdapter,
    Lora,
    Panel,
    Project,
    Reference,
    Sequence,
    Settings,
    Shot,
    StyleAnchor,
)
from comfyops.storyboard.sizes import Ratio, Size

FOLDER = Path("folder")
texts = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Co", "Cn")), max_size=30
) | st.sampled_from(
    [
        "no",
        "16:9",
        "1e3",
        "null",
        "~",
        "0x1F",
        "2026-01-02",
        "a: b",
        "# x",
        "- x",
        "",
        "two\nlines\n",
        " x ",
        "{a|b}",
        "010",
    ]
)
names = st.text(st.characters(codec="ascii", categories=("Lu", "Ll", "Nd")), min_size=1, max_size=12)
pictures = names.map(lambda name: FOLDER / f"{name}.png")
fractions = st.floats(0, 0.49).map(lambda value: round(value, 4))
optional = st.none()


def maybe(strategy):
    return optional | strategy


loras = st.builds(Lora, names, st.floats(-2, 2), maybe(st.floats(-2, 2)))
samplings = st.builds(
    Settings,
    family=maybe(st.sampled_from(["auto", "sdxl"])),
    model=maybe(names),
    loras=maybe(st.tuples(loras) | st.just(())),
    clip_skip=maybe(st.integers(1, 12)),
    size=maybe(st.just(Size(512, 768)) | st.builds(Ratio, st.integers(1, 8), st.integers(1, 8))),
    steps=maybe(st.integers(1, 10_000)),
    cfg=maybe(st.floats(0, 100)),
    sampler=maybe(texts.filter(bool)),
)
controls = st.builds(ControlNet, names, pictures, st.floats(0, 10), fractions, st.just(0.5), names)
panels = st.builds(
    Panel,
    id=names,
    prompt=texts,
    negative=texts,
    caption=texts,
    seed=maybe(st.integers(-1, seeds.LARGEST)),
    characters=maybe(st.just(("mara",)) | st.just(())),
    settings=samplings,
    reference=maybe(st.builds(Reference, pictures, st.floats(0.01, 1))),
    controlnets=st.lists(controls, max_size=2).map(tuple),
    ip_adapter=maybe(
        st.builds(IPAdapter, pictures, st.floats(-1, 5), fractions, st.just(0.5), texts.filter(bool), names)
    ),
)


@st.composite
def projects(draw):
    found = draw(st.lists(panels, min_size=1, max_size=2, unique_by=lambda panel: panel.id.casefold()))
    shot = draw(st.builds(Shot, st.just("shot"), st.just(tuple(found)), texts, texts, texts, texts, settings=samplings))
    return Project(
        id=draw(names),
        title=draw(texts.filter(bool)),
        seed=draw(st.integers(0, seeds.LARGEST)),
        sequences=(Sequence("seq", (shot,), draw(texts)),),
        style=draw(st.builds(StyleAnchor, texts, texts, texts)),
        characters={
            "mara": Character("mara", draw(texts.filter(bool)), draw(texts), draw(texts), draw(maybe(pictures)))
        },
        defaults=draw(samplings),
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(projects())
def test_a_project_written_as_yaml_is_read_back_the_same(project):
    assert yaml_file.loads(storyboard.dumps(project, FOLDER), FOLDER) == project
