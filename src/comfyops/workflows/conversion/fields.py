"""Fields: which widgets the editor gives a node of some type, in which order, and which of them it saves and sends.

The editor saves the values of a node's widgets as a bare list, so the order decides. It differs from the order of the
declared inputs: some inputs bring further widgets (the seed's "control after generate", upload buttons), and the choice
of a dynamic combo decides which widgets follow it. Source: the official editor, versions 1.35 to 1.58.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from comfyops.workflows.node_types import AUTOGROW, DYNAMIC_COMBO, MATCH_TYPE, NodeType

CONTROL_VALUES = ("fixed", "increment", "decrement", "randomize", "increment-wrap")
"""The choices of a "control after generate" widget."""

VIEW = "LOAD_3D"
"""The kind of field that shows a 3D scene."""

_WIDGET_KINDS = frozenset(
    (
        "INT", "FLOAT", "BOOLEAN", "STRING", "MARKDOWN", "COMBO", "COLOR", "IMAGECOMPARE", "BOUNDING_BOX", "CHART",
        "GALLERIA", "PAINTER", "COMPOSITOR", "TEXTAREA", "CURVE", "RANGE", "VIDEO_EDIT", "BOUNDING_BOXES", "COLORS",
        "WEBCAM", "AUDIO_RECORD", VIEW, DYNAMIC_COMBO,
    )
)  # fmt: skip
_DEFAULTS: Mapping[str, Any] = {
    "INT": 0,
    "FLOAT": 0,
    "BOOLEAN": False,
    "STRING": "",
    "MARKDOWN": "",
    "TEXTAREA": "",
    "PAINTER": "",
    "AUDIO_RECORD": "",
    "COLOR": "#000000",
    "IMAGECOMPARE": ["", ""],
    "BOUNDING_BOX": {"x": 0, "y": 0, "width": 512, "height": 512},
    "BOUNDING_BOXES": [],
    "COLORS": [],
    "CURVE": {"points": [[0, 0], [1, 1]], "interpolation": "monotone_cubic"},
    "RANGE": {"min": 0.0, "max": 1.0},
    "COMPOSITOR": {},
}
_UPLOADS = ("image_upload", "animated_image_upload", "video_upload", "audio_upload")


@dataclass(frozen=True, slots=True)
class Field:
    """One widget. `saved` ones take a place in the saved list, `sent` ones go to the server.

    `socket` is the type of the input slot that the widget has too (None = it has none). `choices` leads from the value
    of a dynamic combo to what it brings; `first` is a combo's first choice, which stands in for null.
    """

    name: str
    kind: str
    default: Any = None
    saved: bool = True
    sent: bool = True
    socket: str | None = None
    first: Any = None
    dynamic_prompt: bool = False
    multiline: bool = False
    choices: Mapping[Any, Layout] | None = None


@dataclass(frozen=True, slots=True)
class Growing:
    """A growing list of inputs, "name.key0", "name.key1", ...: the full names, the slots' type, how many at least."""

    name: str
    kind: str
    names: tuple[str, ...]
    minimum: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What a node type (or one choice of a dynamic combo) brings: plain sockets, growing ones, and widgets.

    `legacy` tells of each place in lists saved by editors before 1.16 whether it is a dummy to be dropped; empty where
    those lists are the same as today's. `matched` leads from inputs whose type follows their links to the name of
    their template and the types it allows.
    """

    sockets: tuple[tuple[str, str] | Growing, ...]
    fields: tuple[Field, ...]
    legacy: tuple[bool, ...] = ()
    matched: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def layout_of(node_type: NodeType) -> Layout:
    """The layout of a node type with the choices of its dynamic combos open."""
    specs = list(_ordered(node_type.raw))
    layout = _layout(specs, "")
    extra = tuple(_extra(node_type, specs))
    return Layout(layout.sockets, layout.fields + extra, _legacy(specs, layout.fields), layout.matched)


def _ordered(raw: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(name, spec) of the declared inputs in the editor's order."""
    groups, order = raw["input"], raw.get("input_order") or {}
    for group in ("required", "optional"):
        specs = groups.get(group) or {}
        listed = [name for name in order.get(group) or () if name in specs]
        for name in (*listed, *(name for name in specs if name not in listed)):
            yield name, specs[name]


def _layout(specs: list[tuple[str, Any]], prefix: str) -> Layout:
    sockets: list[tuple[str, str] | Growing] = []
    fields: list[Field] = []
    matched: dict[str, tuple[str, str]] = {}
    for key, spec in specs:
        name, (kind, options) = prefix + key, _kind_and_options(spec)
        widget = options.get("widgetType") or kind
        if widget in _WIDGET_KINDS and not options.get("forceInput"):
            if widget == VIEW and any(item.name == "model_file" for item in fields):
                fields.extend(Field(button, "BUTTON", value, sent=False) for button, value in _BUTTONS_3D.items())
            fields.extend(_fields(name, kind, widget, options, spec[0]))
        elif kind == AUTOGROW:
            growing, template = _growing(name, options)
            sockets.append(growing)
            matched.update(dict.fromkeys(growing.names, template) if template is not None else {})
        elif kind == MATCH_TYPE:
            matched[name] = _template(options)
            sockets.append((name, matched[name][1]))
        else:
            sockets.append((name, kind))
    return Layout(tuple(sockets), tuple(fields), matched=matched)


def _kind_and_options(spec: Sequence[Any]) -> tuple[str, Mapping[str, Any]]:
    options = spec[1] if len(spec) > 1 and isinstance(spec[1], Mapping) else {}
    kind = spec[0]
    return ("COMBO" if isinstance(kind, list) else str(kind)), options


def _fields(name: str, kind: str, widget: str, options: Mapping[str, Any], choices: Any) -> Iterator[Field]:
    default = options.get("default", _DEFAULTS.get(widget))
    if widget == DYNAMIC_COMBO:
        yield _dynamic(name, kind, options)
    elif widget == "COMBO":
        listed: Sequence[Any] = choices if isinstance(choices, list) else options.get("options") or ()
        first = listed[0] if listed else None
        yield Field(name, widget, options.get("default", first), socket=kind, first=first)
    elif widget == VIEW:
        yield Field(name, widget, "", socket=kind)
    else:
        prompt = widget == "STRING" and options.get("dynamicPrompts") is True
        saved = widget != "IMAGECOMPARE"
        lines = options.get("multiline") is True
        yield Field(name, widget, default, saved=saved, socket=kind, dynamic_prompt=prompt, multiline=lines)
    if widget == "BOUNDING_BOX":
        yield from (Field(part, "INT", sent=False) for part in ("x", "y", "width", "height"))
    yield from _controls(widget, name, options)
    if (options.get("remote") or {}).get("refresh_button"):
        yield Field("refresh", "BUTTON", "refresh", sent=False)


_BUTTONS_3D = {"upload 3d model": "upload3dmodel", "upload extra resources": "uploadExtraResources", "clear": "clear"}


def _controls(widget: str, name: str, options: Mapping[str, Any]) -> Iterator[Field]:
    """The widgets that say how a value changes from run to run."""
    control = options.get("control_after_generate")
    if control is None and widget == "INT":
        control = name in ("seed", "noise_seed")
    if not control or widget not in ("INT", "FLOAT", "COMBO"):
        return
    usual = "randomize" if widget == "INT" else "fixed"
    yield Field("control_after_generate", "CONTROL", control if control in CONTROL_VALUES else usual, sent=False)
    if widget == "COMBO":
        yield Field("control_filter_list", "STRING", "", sent=False)


def _dynamic(name: str, kind: str, options: Mapping[str, Any]) -> Field:
    choices: dict[Any, Layout] = {}
    for option in options.get("options") or ():
        groups = option.get("inputs") or {}
        specs = [item for group in ("required", "optional") for item in (groups.get(group) or {}).items()]
        choices[option["key"]] = _layout(specs, f"{name}.")
    first = next(iter(choices), None)
    return Field(name, DYNAMIC_COMBO, first, socket=kind, first=first, choices=choices)


def _template(options: Mapping[str, Any]) -> tuple[str, str]:
    template = options.get("template") or {}
    return str(template.get("template_id")), str(template.get("allowed_types") or "*")


def _growing(name: str, options: Mapping[str, Any]) -> tuple[Growing, tuple[str, str] | None]:
    """The growing input, and the template that its type follows."""
    template = options.get("template") or {}
    specs = [spec for group in (template.get("input") or {}).values() for spec in group.values()]
    kind, inner = _kind_and_options(specs[0]) if specs else ("*", {})
    matched = _template(inner) if kind == MATCH_TYPE else None
    names = template.get("names") or [f"{template.get('prefix', '')}{at}" for at in range(template.get("max", 100))]
    full = tuple(f"{name}.{item}" for item in names)
    return Growing(name, matched[1] if matched else kind, full, template.get("min", 1)), matched


def _extra(node_type: NodeType, specs: list[tuple[str, Any]]) -> Iterator[Field]:
    """Widgets that no declared input stands for."""
    required = node_type.raw["input"].get("required") or {}
    if any(_kind_and_options(spec)[1].get(option) for spec in required.values() for option in _UPLOADS):
        yield Field("upload", "BUTTON", "image", sent=False)


def _legacy(specs: list[tuple[str, Any]], fields: tuple[Field, ...]) -> tuple[bool, ...]:
    names = {item.name for item in fields}
    places: list[bool] = []
    for name, spec in specs:
        options = _kind_and_options(spec)[1]
        forced = bool(options.get("forceInput"))
        if forced or name in names:
            places += [forced, False] if options.get("control_after_generate") else [forced]
    return tuple(places) if any(places) else ()
