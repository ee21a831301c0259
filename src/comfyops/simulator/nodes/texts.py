"""Texts: joined, cut, searched, converted, shown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from string import Formatter
from typing import Any

from comfyops.simulator.call import NodeCall, NodeFunction, NodeResult
from comfyops.simulator.nodes.define import instant, is_array
from comfyops.simulator.values import Thing


def concatenate(string_a: str, string_b: str, delimiter: str = "") -> str:
    """StringConcatenate."""
    return delimiter.join((string_a, string_b))


def substring(string: str, start: int, end: int) -> str:
    """StringSubstring."""
    return string[start:end]


def length(string: str) -> int:
    """StringLength."""
    return len(string)


def change_case(string: str, mode: str) -> str:
    """CaseConverter."""
    modes = {"UPPERCASE": str.upper, "lowercase": str.lower, "Capitalize": str.capitalize, "Title Case": str.title}
    return modes[mode](string) if mode in modes else string


def trim(string: str, mode: str) -> str:
    """StringTrim."""
    return {"Both": str.strip, "Left": str.lstrip, "Right": str.rstrip}.get(mode, str)(string)


def replace(string: str, find: str, replace: str) -> str:
    """StringReplace."""
    return string.replace(find, replace)


def contains(string: str, substring: str, case_sensitive: bool = True) -> bool:
    """StringContains."""
    return substring in string if case_sensitive else substring.lower() in string.lower()


def compare(string_a: str, string_b: str, mode: str, case_sensitive: bool = True) -> bool:
    """StringCompare."""
    if not case_sensitive:
        string_a, string_b = string_a.lower(), string_b.lower()
    if mode == "Starts With":
        return string_a.startswith(string_b)
    return string_a.endswith(string_b) if mode == "Ends With" else string_a == string_b


def regex_match(
    string: str, regex_pattern: str, case_insensitive: bool = True, multiline: bool = False, dotall: bool = False
) -> bool:
    """RegexMatch: found anywhere; a broken pattern is not."""
    found = _search(string, regex_pattern, _flags(case_insensitive, multiline, dotall))
    return bool(found)


def regex_extract(
    string: str,
    regex_pattern: str,
    mode: str,
    case_insensitive: bool = True,
    multiline: bool = False,
    dotall: bool = False,
    group_index: int = 1,
) -> str:
    """RegexExtract: a match or group, all of them on lines of their own; "" where there is none."""
    found = _search(string, regex_pattern, _flags(case_insensitive, multiline, dotall))
    if mode.startswith("First"):
        found = found[:1]
    wanted = group_index if mode.endswith(("Group", "Groups")) else 0
    return "\n".join(match.group(wanted) or "" for match in found if len(match.groups()) >= wanted)


def regex_replace(
    string: str,
    regex_pattern: str,
    replace: str,
    case_insensitive: bool = True,
    multiline: bool = False,
    dotall: bool = False,
    count: int = 0,
) -> str:
    """RegexReplace."""
    flags = _flags(case_insensitive, multiline, dotall)
    return re.sub(regex_pattern, replace, string, count=count, flags=flags)


def _search(string: str, pattern: str, flags: int) -> list[re.Match[str]]:
    try:
        return list(re.finditer(pattern, string, flags))
    except re.error:
        return []


def _flags(case_insensitive: bool, multiline: bool, dotall: bool) -> int:
    chosen = ((case_insensitive, re.IGNORECASE), (multiline, re.MULTILINE), (dotall, re.DOTALL))
    return sum(flag for wanted, flag in chosen if wanted)


def from_json(json_string: str, key: str) -> str:
    """JsonExtractString: a value at the top, "" where there is none."""
    try:
        data = json.loads(json_string)
    except ValueError:
        return ""
    value = data.get(key) if isinstance(data, dict) else None
    return "" if value is None else str(value)


def as_json(dictionary: Any = None, array: Any = None, indent: int = 2) -> str:
    """ConvertDictionaryToString, ConvertArrayToString."""
    value = array if dictionary is None else dictionary
    return json.dumps(value, indent=indent or None, ensure_ascii=False, default=str)


def formatted(values: Mapping[str, Any], f_string: str) -> str:
    """StringFormat: {a}, {b:02} and the like filled in; attributes and indexes of values are refused."""
    for _, name, spec, _ in Formatter().parse(f_string):
        if name is not None and (not name.isidentifier() or "{" in (spec or "")):
            raise ValueError(f"Only plain names may stand in braces, not {name!r}")
    return f_string.format(**{name: value for name, value in values.items() if value is not None})


def changed(how: str) -> NodeFunction:
    """The older text nodes, whose input is called `texts`."""

    def apply(texts: str) -> str:
        text: str = getattr(texts, how)()
        return text

    return instant(apply)


def truncated(texts: str, max_length: int) -> str:
    """TruncateText."""
    return texts[:max_length]


def prefixed(texts: str, prefix: str) -> str:
    """AddTextPrefix."""
    return prefix + texts


def suffixed(texts: str, suffix: str) -> str:
    """AddTextSuffix."""
    return texts + suffix


def replaced(texts: str, find: str, replace: str) -> str:
    """ReplaceText."""
    return texts.replace(find, replace)


def merge_lists(texts: list[str]) -> str:
    """MergeTextLists: passes the list on."""
    return texts[0] if len(texts) == 1 else "\n".join(texts)


def preview_any(call: NodeCall, source: Any = None) -> NodeResult:
    """PreviewAny: the value as text, objects as JSON."""
    text = shown(source)
    return NodeResult((text,) * min(len(call.node_type.outputs), 1), {"text": (text,)})


def shown(value: Any) -> str:
    """A value as PreviewAny shows it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return str(value)
    if value is None:
        return "None"
    if is_array(value):
        return f"simulated tensor of shape {tuple(value.shape)}"
    if isinstance(value, Thing):
        return f"simulated {value.kind} of {', '.join(value.files) or value.source}"
    return json.dumps(value, indent=4, ensure_ascii=False, default=repr)


NODES: dict[str, NodeFunction] = {
    "StringConcatenate": instant(concatenate),
    "StringSubstring": instant(substring),
    "StringLength": instant(length),
    "CaseConverter": instant(change_case),
    "StringTrim": instant(trim),
    "StringReplace": instant(replace),
    "StringContains": instant(contains),
    "StringCompare": instant(compare),
    "RegexMatch": instant(regex_match),
    "RegexExtract": instant(regex_extract),
    "RegexReplace": instant(regex_replace),
    "JsonExtractString": instant(from_json),
    "ConvertDictionaryToString": instant(as_json),
    "ConvertArrayToString": instant(as_json),
    "StringFormat": instant(formatted),
    "TextToLowercase": changed("lower"),
    "TextToUppercase": changed("upper"),
    "StripWhitespace": changed("strip"),
    "TruncateText": instant(truncated),
    "AddTextPrefix": instant(prefixed),
    "AddTextSuffix": instant(suffixed),
    "ReplaceText": instant(replaced),
    "MergeTextLists": instant(merge_lists),
    "PreviewAny": instant(preview_any),
}
