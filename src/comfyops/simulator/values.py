"""What flows between simulated nodes, and a fingerprint of any of it.

Pictures and masks are float32 arrays as in ComfyUI, [batch, height, width, channels] and [batch, height, width] from 0
to 1; the rest are the small descriptors below. All of them are kept by the server's cache and shared between nodes:
nobody changes one in place (`frozen_array` makes arrays read-only).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array: TypeAlias = npt.NDArray[np.float32]

T = TypeVar("T")

_LARGEST = 4 * 2**30  # bytes of one array


@dataclass(frozen=True)
class Thing:
    """Something opaque: a model, text encoder, VAE, ControlNet, sampler, hook, mesh, task id, ...

    `kind` is ComfyUI's type word, `source` the class of node that made it, `files` the model files behind it and
    `digest` depends on everything that shaped it, so that a change anywhere changes the pictures.
    """

    kind: str
    source: str
    files: tuple[str, ...] = ()
    digest: str = ""


@dataclass(frozen=True)
class Guide:
    """A picture that steers a sampler; `weight` from 0 to 1 is how much of it shows in the result."""

    image: Array
    weight: float


@dataclass(frozen=True)
class Conditioning:
    """A prompt as an encoder gives it: its text, a digest of all that shaped it, and the pictures that steer."""

    text: str
    digest: str = ""
    guides: tuple[Guide, ...] = ()


@dataclass(frozen=True)
class Sigmas:
    """Noise levels, from high to low; a sampler takes one step between each two."""

    values: tuple[float, ...]
    denoise: float = 1.0

    @property
    def steps(self) -> int:
        """How many steps a sampler takes."""
        return max(len(self.values) - 1, 0)


@dataclass(frozen=True)
class Noise:
    """Where a sampler's noise comes from; seed None = no noise at all."""

    seed: int | None


@dataclass(frozen=True)
class Guider:
    """A model with its prompts, ready to be sampled."""

    model: Thing
    positive: Conditioning
    negative: Conditioning | None = None
    cfg: float = 1.0
    digest: str = ""


@dataclass(frozen=True)
class Layer:
    """One pass of a sampler: what it was told, and how much of the picture it made anew (`weight`, 0 to 1)."""

    prompt: str
    model: str
    seed: int
    steps: int
    cfg: float
    digest: str  # over everything that went in
    weight: float = 1.0
    guides: tuple[Guide, ...] = ()


@dataclass(frozen=True)
class Latent:
    """A latent: sizes in pixels, what it was encoded from, and the sampler passes over it.

    `frames` is 0 for pictures and the number of frames for video, `seconds` the length of sound; `parts` holds the
    latents of a combined one (video and audio).
    """

    width: int
    height: int
    batch: int = 1
    frames: int = 0
    seconds: float = 0.0
    channels: int = 4
    kind: str = "image"  # image, video, audio, 3d
    pixels: Array | None = None
    layers: tuple[Layer, ...] = ()
    mask: Array | None = None
    batch_index: int = 0
    parts: tuple[Latent, ...] = ()
    digest: str = ""


@dataclass(frozen=True)
class Audio:
    """Sound: `samples` [channels, n] from -1 to 1, `rate` samples per second."""

    samples: Array
    rate: int = 44100

    @property
    def seconds(self) -> float:
        """How long it is."""
        return int(self.samples.shape[-1]) / self.rate


@dataclass(frozen=True)
class Video:
    """A video: `frames` [n, height, width, 3], and its sound."""

    frames: Array
    fps: float = 24.0
    audio: Audio | None = None

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.frames) / self.fps


@dataclass(frozen=True)
class FileBlob:
    """A finished file that a node gives (3D model, SVG): `format` is its extension without the dot."""

    format: str
    data: bytes = field(repr=False)


class Draws:
    """Numbers drawn from a digest, the same on any machine and in any version of Python.

    Only `Random.random` is used, whose sequence Python promises to keep.
    """

    def __init__(self, digest: str) -> None:
        self._source = Random(int(digest[:16], 16))

    def random(self) -> float:
        """A number from 0 to below 1."""
        return self._source.random()

    def below(self, end: int) -> int:
        """A whole number from 0 to below `end`."""
        return int(self._source.random() * end)

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.below(len(items))]


def frozen_array(array: Any) -> Array:
    """The same numbers as a read-only float32 array."""
    import numpy as np

    result = np.asarray(array, dtype=np.float32)
    if result.flags.writeable:
        result = result.view()
        result.flags.writeable = False
    return result


def check_size(*shape: int) -> None:
    """See that an array of float32 of this shape is one that a test machine can hold.

    Raises MemoryError for more than 4 GiB.
    """
    size = 4 * math.prod(max(side, 1) for side in shape)
    if size > _LARGEST:
        raise MemoryError(f"A simulated array of shape {shape} would take {size / 2**30:.1f} GiB; the limit is 4 GiB")


def fingerprint(*values: Any) -> str:
    """64 hexadecimal digits that depend on every value inside `values`, the same on any machine and in any run."""
    digest = hashlib.sha256()
    for piece in _pieces(values):
        digest.update(piece)
        digest.update(b"\0")
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    if is_dataclass(value) and not isinstance(value, type):
        yield type(value).__name__.encode()
        for item in fields(value):
            yield from _pieces(getattr(value, item.name))
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield str(key).encode()
            yield from _pieces(value[key])
    elif isinstance(value, list | tuple):
        yield f"[{len(value)}".encode()
        for item in value:
            yield from _pieces(item)
    elif hasattr(value, "dtype"):
        yield from _array_pieces(value)
    else:
        yield value if isinstance(value, bytes) else f"{type(value).__name__}:{value}".encode()


def _array_pieces(array: Any) -> Iterator[bytes]:
    """An array by its shape and, for long batches, its first, middle and last item."""
    yield str(array.shape).encode()
    count = len(array) if array.ndim else 0
    if count <= 3:
        yield array.tobytes()
        return
    for index in (0, count // 2, count - 1):
        yield array[index].tobytes()
