"""Plain values, switches and sums."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from comfyops.simulator.call import NodeCall, NodeFunction, NodeResult
from comfyops.simulator.nodes.define import computed, grown, instant
from comfyops.simulator.nodes.images import size_of

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "float": float,
    "floor": math.floor,
    "int": int,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "max": max,
    "min": min,
    "pow": lambda base, exponent: _power(base, exponent),
    "round": round,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "sum": lambda *values: sum(values),
    "tan": math.tan,
}
_LONGEST = 1000  # characters of an expression
_LARGEST = 4000  # bits of a power


def plain(value: Any) -> Any:
    """PrimitiveInt, PrimitiveFloat, ...: the value itself."""
    return value


def seed_node(seed: int) -> int:
    """SeedNode."""
    return seed


def bounding_box(x: int, y: int, width: int, height: int) -> dict[str, int]:
    """PrimitiveBoundingBox."""
    return {"x": x, "y": y, "width": width, "height": height}


def switch(switch: bool, on_false: Any = None, on_true: Any = None) -> Any:
    """ComfySwitchNode."""
    return on_true if switch else on_false


def negation(value: Any) -> bool:
    """ComfyNotNode."""
    return not _truth(value)


def conjunction(values: Mapping[str, Any]) -> bool:
    """ComfyAndNode."""
    return all(_truth(value) for value in grown(values))


def disjunction(values: Mapping[str, Any]) -> bool:
    """ComfyOrNode."""
    return any(_truth(value) for value in grown(values))


def _truth(value: Any) -> bool:
    return bool(value.any()) if hasattr(value, "any") else bool(value)


def custom_combo(call: NodeCall, choice: str) -> tuple[Any, ...]:
    """CustomCombo: the choice, and the number that the page sends along."""
    return (choice, int(call.inputs.get("index") or 0))[: len(call.node_type.outputs)]


def resolution(aspect_ratio: str, megapixels: float, multiple: int = 8) -> tuple[int, int]:
    """ResolutionSelector: width and height of a shape, 1 megapixel being 1024 x 1024."""
    across, down = (int(part) for part in aspect_ratio.split(" ")[0].split(":"))
    unit = math.sqrt(megapixels * 1024 * 1024 / (across * down))
    return round(across * unit / multiple) * multiple, round(down * unit / multiple) * multiple


def colour_number(call: NodeCall, color: str) -> tuple[Any, ...]:
    """ColorToRGBInt."""
    code = color.lstrip("#")[:6]
    alpha = int(color.lstrip("#")[6:8] or "ff", 16) / 255
    return (int(code, 16), color, alpha)[: len(call.node_type.outputs)]


def number(value: Any) -> tuple[float, int]:
    """ComfyNumberConvert: as FLOAT and INT."""
    result = float(value.strip() if isinstance(value, str) else value)
    if not math.isfinite(result):
        raise ValueError(f"{value!r} is no finite number")
    return result, int(result)


def expression(expression: str, values: Mapping[str, Any]) -> tuple[float, int, bool]:
    """ComfyMathExpression: the sum as FLOAT, INT and BOOLEAN.

    Raises ValueError for what is not arithmetic.
    """
    if len(expression) > _LONGEST:
        raise ValueError(f"The expression is longer than {_LONGEST} characters")
    names: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    names["values"] = list(names.values())
    try:
        result = _value(ast.parse(expression.strip(), mode="eval").body, names)
    except SyntaxError as error:
        raise ValueError(f"The expression cannot be read: {expression!r}") from error
    if not isinstance(result, int | float) or not math.isfinite(result):
        raise ValueError(f"The expression gives no number: {result!r}")
    return float(result), int(result), bool(result)


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as constant):
            return constant
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left, names), _value(right, names))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, names), _value(right, names))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(operand, names))
        case ast.BoolOp(op=op, values=parts):
            results = [_value(part, names) for part in parts]
            return all(results) if isinstance(op, ast.And) else any(results)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _value(body if _value(test, names) else orelse, names)
        case ast.Compare(left=left, ops=ops, comparators=others):
            return _compared(_value(left, names), ops, [_value(other, names) for other in others])
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return _called(name, [_value(arg, names) for arg in args])
    raise ValueError(f"Not allowed in an expression: {ast.unparse(node)!r}")


def _called(name: str, values: list[Any]) -> Any:
    return _FUNCTIONS[name](*(values[0] if len(values) == 1 and isinstance(values[0], list) else values))


def _compared(left: Any, ops: list[ast.cmpop], others: list[Any]) -> bool:
    for op, right in zip(ops, others, strict=True):
        if type(op) not in _OPERATORS or not _OPERATORS[type(op)](left, right):
            return False
        left = right
    return True


def _power(base: Any, exponent: Any) -> Any:
    """A power that cannot fill the memory."""
    if isinstance(base, int) and isinstance(exponent, int) and abs(exponent) * abs(base).bit_length() > _LARGEST:
        raise ValueError(f"{base} ** {exponent} is too large")
    return base**exponent


async def image_size(call: NodeCall) -> NodeResult:
    """GetImageSize: width, height, count; newer servers also show them at the node."""
    width, height, count = size_of(call.inputs["image"])
    await call.host.send_text(f"width: {width}, height: {height}\n batch size: {count}")
    return NodeResult((width, height, count)[: len(call.node_type.outputs)])


def create_list(call: NodeCall) -> tuple[list[Any]]:
    """CreateList: all values of all inputs, in order."""
    lists = [value for _, value in sorted(call.inputs.items(), key=lambda item: _number(item[0]))]
    return ([value for values in lists for value in (values if isinstance(values, list) else [values])],)


def _number(name: str) -> int:
    digits = "".join(char for char in name if char.isdigit())
    return int(digits) if digits else 0


NODES: dict[str, NodeFunction] = {
    "PrimitiveInt": instant(plain),
    "PrimitiveFloat": instant(plain),
    "PrimitiveString": instant(plain),
    "PrimitiveStringMultiline": instant(plain),
    "PrimitiveBoolean": instant(plain),
    "PrimitiveBoundingBox": instant(bounding_box),
    "SeedNode": instant(seed_node),
    "ComfySwitchNode": instant(switch),
    "ComfyNotNode": instant(negation),
    "ComfyAndNode": instant(conjunction),
    "ComfyOrNode": instant(disjunction),
    "CustomCombo": instant(custom_combo),
    "ResolutionSelector": instant(resolution),
    "ColorToRGBInt": instant(colour_number),
    "ComfyNumberConvert": instant(number),
    "ComfyMathExpression": computed(expression),
    "GetImageSize": image_size,
    "CreateList": instant(create_list),
}
