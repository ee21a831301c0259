"""Where to draw the nodes of a graph: from left to right, what gives before what takes, in lanes by subject.

A node's column is the longest way that leads to it; a node that takes nothing stands just before the first that needs
it. Each subject has a lane, a rectangle of its own; lanes that are not in the same columns share their height.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

GAP_X, GAP_Y = 80.0, 60.0
_TITLE = 30.0  # the height of a node's title, which the editor draws above its position
_MARGIN = 20.0


@dataclass(frozen=True, slots=True)
class Box:
    """A node to place: its size in the editor's pixels without the title, and the lane it belongs to."""

    width: float
    height: float
    lane: str


@dataclass(frozen=True, slots=True)
class Area:
    """A lane as it was placed: (x, y) is the upper left corner."""

    lane: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The places of nodes (upper left corner, below the title), their order of running, and the lanes."""

    places: Mapping[str, tuple[float, float]]
    order: Mapping[str, int]
    areas: tuple[Area, ...]


def arrange(boxes: Mapping[str, Box], edges: Iterable[tuple[str, str]], lanes: Sequence[str]) -> Arrangement:
    """Place nodes; `edges` lead from the node that gives to the one that takes, `lanes` go from top to bottom.

    Edges that would close a circle are ignored.
    """
    after: dict[str, list[str]] = {key: [] for key in boxes}
    before: dict[str, list[str]] = {key: [] for key in boxes}
    for start, end in dict.fromkeys(edges):
        if start in after and end in after and start != end:
            after[start].append(end)
            before[end].append(start)
    order = _order(after, before)
    columns = _columns(order, after, before)
    xs = _left_edges(boxes, columns)
    places: dict[str, tuple[float, float]] = {}
    areas: list[Area] = []
    for lane in (*lanes, *(item for item in dict.fromkeys(box.lane for box in boxes.values()) if item not in lanes)):
        members = [key for key in order if boxes[key].lane == lane]
        if members:
            areas.append(_place_lane(lane, members, boxes, columns, xs, before, places, areas))
    return Arrangement(places, {key: at for at, key in enumerate(order)}, tuple(areas))


def _order(after: Mapping[str, list[str]], before: Mapping[str, list[str]]) -> list[str]:
    """An order in which each node comes after those it takes from; circles are cut at their first node."""
    waiting = {key: len(items) for key, items in before.items()}
    ready = [key for key, count in waiting.items() if count == 0]
    order: list[str] = []
    done: set[str] = set()
    stuck = iter(waiting)
    while len(order) < len(after):
        if not ready:
            ready = [next(key for key in stuck if key not in done)]
        key = ready.pop(0)
        if key in done:
            continue
        done.add(key)
        order.append(key)
        for item in after[key]:
            waiting[item] -= 1
            if waiting[item] == 0:
                ready.append(item)
    return order


def _columns(order: list[str], after: Mapping[str, list[str]], before: Mapping[str, list[str]]) -> dict[str, int]:
    rank = {key: at for at, key in enumerate(order)}
    columns: dict[str, int] = {}
    for key in order:
        columns[key] = 1 + max((columns[item] for item in before[key] if rank[item] < rank[key]), default=-1)
    for key in reversed(order):
        takers = [columns[item] for item in after[key] if rank[item] > rank[key]]
        if not before[key] and takers:
            columns[key] = max(0, min(takers) - 1)
    return columns


def _left_edges(boxes: Mapping[str, Box], columns: Mapping[str, int]) -> list[float]:
    widths = [0.0] * (max(columns.values(), default=-1) + 1)
    for key, column in columns.items():
        widths[column] = max(widths[column], boxes[key].width)
    xs, x = [], 0.0
    for width in widths:
        xs.append(x)
        x += width + GAP_X
    return xs


def _place_lane(
    lane: str,
    members: list[str],
    boxes: Mapping[str, Box],
    columns: Mapping[str, int],
    xs: list[float],
    before: Mapping[str, list[str]],
    places: dict[str, tuple[float, float]],
    areas: list[Area],
) -> Area:
    """Stack the lane's nodes in their columns; the lane goes near what it takes from, or below others in its way."""
    stacks: dict[int, float] = {}
    local: dict[str, float] = {}
    for key in sorted(members, key=lambda key: (columns[key], _middle(before[key], places, local))):
        y = stacks.get(columns[key], 0.0)
        local[key] = y
        stacks[columns[key]] = y + boxes[key].height + _TITLE + GAP_Y / 2
    left = min(xs[columns[key]] for key in members) - _MARGIN
    right = max(xs[columns[key]] + boxes[key].width for key in members) + _MARGIN
    height = max(stacks.values()) + _TITLE + 2 * _MARGIN
    givers = [places[item][1] for key in members for item in before[key] if item in places]
    top = max(0.0, sum(givers) / len(givers) - 2 * _TITLE - _MARGIN) if givers else 0.0
    for area in sorted(areas, key=lambda item: item.y):
        if area.x < right and left < area.x + area.width and area.y < top + height and top < area.y + area.height:
            top = area.y + area.height + GAP_Y
    for key, y in local.items():
        places[key] = (xs[columns[key]], top + y + 2 * _TITLE + _MARGIN)
    return Area(lane, left, top, right - left, height)


def _middle(givers: list[str], places: Mapping[str, tuple[float, float]], local: Mapping[str, float]) -> float:
    heights = [local[key] if key in local else places[key][1] for key in givers if key in local or key in places]
    return sum(heights) / len(heights) if heights else 0.0
