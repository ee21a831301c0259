"""YAML as people mean it: `16:9` and `no` are text, a name given twice is an error.

PyYAML follows YAML 1.1, where `16:9` is the number 969 and `no` is false; here only what YAML 1.2's core schema calls
a number, a boolean or null is one.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from comfyops.errors import NotJsonError

_STR = "tag:yaml.org,2002:str"

_PLAIN = re.compile(r"[A-Za-z]([A-Za-z0-9 ,.'()/_-]*[A-Za-z0-9.)])?")


_MOST_VALUES = 2_000_000
"""Values that a text may stand for, each alias counted as what it names: some lines of them can name billions."""


class BoundedLoader(yaml.SafeLoader):
    """PyYAML's own reading, which refuses a text that would grow without bounds."""

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _values(node, {}) > _MOST_VALUES:
            raise yaml.composer.ComposerError(None, None, "its aliases stand for too many values", node.start_mark)
        return node


class _Loader(BoundedLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a name must be text", key.start_mark)
            if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _values(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """How many values a node stands for; more than may be where it holds itself."""
    if node not in known:
        known[node] = _MOST_VALUES + 1
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        flat = (part for pair in parts for part in pair) if isinstance(node, yaml.MappingNode) else parts
        known[node] = 1 + sum(_values(part, known) for part in flat)
    return known[node]


def _scalar(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.constructor.ConstructorError(None, None, "a number must be one word", node.start_mark)
    return str(node.value)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+0123456789."),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))
_Loader.yaml_implicit_resolvers[""] = [("tag:yaml.org,2002:null", re.compile(r"^$"))]
_Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: float(_scalar(node)))
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(_scalar(node)))


class _Dumper(yaml.SafeDumper):
    """Quotes text that some reading of YAML could take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    word = dumper.resolve(yaml.ScalarNode, value, (True, False)) != _STR  # type: ignore[no-untyped-call]
    style = None if _PLAIN.fullmatch(value) and not word else '"'
    return dumper.represent_scalar(_STR, value, style=style)


_Dumper.add_representer(str, _text)


def loads(text: str | bytes, where: str) -> Any:
    """The value in a YAML text.

    Raises NotJsonError naming line and column.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise NotJsonError(f"{where} is not YAML: {error.problem}{at}.", hint="Check the indentation.") from error
    except RecursionError as error:
        raise NotJsonError(f"{where} is not YAML: it is nested too deeply.", hint="Check the file.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise NotJsonError(f"{where} is not YAML: {str(error).splitlines()[0]}.", hint="Check the file.") from error
    except (AttributeError, LookupError, TypeError) as error:  # PyYAML's own, for a tag whose value is of another kind
        raise NotJsonError(f"{where} is not YAML: a tag does not fit its value.", hint="Check the file.") from error


def dumps(value: Any) -> str:
    """YAML text that `loads` reads back as the same value."""
    return yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=10_000)
