"""Pictures, masks and videos of a request, made ready and put on the server under names that hold their hash."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice

from PIL import Image

from comfyops.backends.backend import Backend
from comfyops.execution import frames, masks, video_files
from comfyops.execution.generation import GenerationRequest, Video
from comfyops.execution.uploads import SUBFOLDER
from comfyops.workflows.recipes import Recipe


@dataclass(frozen=True, slots=True)
class Sizes:
    """A result's size as asked for and as the model makes it, its length likewise, frames per second."""

    wanted: tuple[int, int] | None = None
    made: tuple[int, int] | None = None
    frames: int | None = None
    made_frames: int | None = None
    fps: float | None = None


@dataclass
class InputFiles:
    """The uploads of one request; `hashes` maps names on the server to SHA-256."""

    backend: Backend
    hashes: dict[str, str] = field(default_factory=dict)

    async def picture(self, picture: masks.Picture, sizes: Sizes, *, fit: bool) -> str:
        """A picture's name on the server; with `fit` brought to the wanted size and its border continued."""
        return await self._put(await asyncio.to_thread(_picture, picture, sizes, fit), "picture", ".png")

    async def mask(self, request: GenerationRequest, sizes: Sizes) -> str:
        """A mask's name on the server."""
        assert request.mask is not None
        data = await asyncio.to_thread(_mask, request.mask, sizes, request.mask_options)
        return await self._put(data, "mask", ".png")

    async def video(self, video: Video, sizes: Sizes, *, fit: bool) -> str:
        """A video's name on the server: its frames in the wanted length, the last one repeated; with `fit` in the size
        that the model makes."""
        data = await asyncio.to_thread(_video, video, sizes, fit)
        return await self._put(data, "video", ".mp4")

    async def masks(self, request: GenerationRequest, sizes: Sizes) -> str:
        """The name of a video whose frames are the masks, in the same size and length."""
        data = await asyncio.to_thread(_masks, request, sizes)
        return await self._put(data, "masks", ".mp4")

    async def _put(self, data: bytes, stem: str, suffix: str) -> str:
        digest = hashlib.sha256(data).hexdigest()
        name = await self.backend.upload_image(f"{stem}-{digest[:16]}{suffix}", data, subfolder=SUBFOLDER)
        self.hashes[name] = digest
        return name


def resolved(request: GenerationRequest, recipe: Recipe) -> Sizes:
    """Size, length and frames per second of a result, from the request, its video, its first picture, the recipe.

    Raises InputError and MissingFileError for a video or picture that cannot be read, UsageError.
    """
    own = recipe.defaults
    size = _size(request, recipe)
    made = recipe.size.request(*size) if recipe.size and size else size
    count, fps = request.frames or own.frames, request.fps or own.fps
    if request.video is not None and not (request.frames and request.fps):
        length, rate = measured(request.video)
        fps = request.fps or rate or own.fps
        count = min(request.frames or length, length)
    if recipe.makes != "video":
        count = fps = None
    made_count = recipe.length.request(count) if recipe.length and count else count
    return Sizes(size, made, count, made_count, fps)


def measured(video: Video) -> tuple[int, float | None]:
    """How many frames a video has, and how many it shows in a second where it says."""
    if isinstance(video, tuple):
        return len(video), None
    found = frames.opened([video])
    return len(found), found.fps


def _size(request: GenerationRequest, recipe: Recipe) -> tuple[int, int] | None:
    """The wanted size, None where the recipe takes none and follows its picture."""
    if not {"width", "height"} <= recipe.takes:
        return None
    own = recipe.defaults
    given = _given_size(request)
    if request.width and request.height:
        return request.width, request.height
    if own.width is None or own.height is None:
        return None
    if given is None:
        return request.width or own.width, request.height or own.height
    if own.enlarge:
        return request.width or round(given[0] * own.enlarge), request.height or round(given[1] * own.enlarge)
    scale = min(1.0, (own.width * own.height * 1.5 / (given[0] * given[1])) ** 0.5)
    multiple = recipe.size.multiple if recipe.size and scale < 1 else 1
    width, height = (max(round(side * scale / multiple), 1) * multiple for side in given)
    return request.width or width, request.height or height


def _given_size(request: GenerationRequest) -> tuple[int, int] | None:
    if request.video is not None:
        first = next(_frames(request.video), None)
        return first.size if first else None
    return masks.opened(request.images[0]).size if request.images else None


def _frames(video: Video) -> Iterator[Image.Image]:
    if isinstance(video, tuple):
        return (masks.opened(item, "frame") for item in video)
    return frames.decoded(video)


def _fitted(picture: Image.Image, sizes: Sizes) -> Image.Image:
    if sizes.wanted is None or sizes.made is None:
        return picture
    if picture.size != sizes.wanted:
        picture = _covering(picture, sizes.wanted)
    return masks.padded(picture, sizes.made)


def _covering(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture scaled until it covers the size, what stands over cut off on both sides."""
    scale = max(size[0] / picture.width, size[1] / picture.height)
    large = (max(round(picture.width * scale), size[0]), max(round(picture.height * scale), size[1]))
    return masks.cut(picture.resize(large, Image.Resampling.LANCZOS), size)


def _picture(picture: masks.Picture, sizes: Sizes, fit: bool) -> bytes:
    image = masks.opened(picture)
    return _png(_fitted(image.convert("RGB"), sizes) if fit else image)


def _mask(mask: masks.Picture, sizes: Sizes, options: masks.MaskOptions) -> bytes:
    return _png(_mask_picture(mask, sizes, options))


def _video(video: Video, sizes: Sizes, fit: bool) -> bytes:
    plain = (picture.convert("RGB") for picture in _frames(video))
    pictures: Iterator[Image.Image] = (_fitted(picture, sizes) for picture in plain) if fit else plain
    if sizes.made_frames:
        pictures = masks.lengthened(islice(pictures, sizes.frames or 0), sizes.made_frames)
    sound = None if isinstance(video, tuple) else video
    return video_files.encoded(pictures, sizes.fps or 24.0, crf=video_files.LOSSLESS, sound=sound)


def _masks(request: GenerationRequest, sizes: Sizes) -> bytes:
    assert sizes.frames is not None and sizes.made_frames is not None
    given = request.masks or ((request.mask,) if request.mask is not None else ())
    each = masks.per_frame(given, sizes.frames)
    pictures = (_mask_picture(mask, sizes, request.mask_options) for mask in each)
    return video_files.encoded(
        masks.lengthened(pictures, sizes.made_frames), sizes.fps or 24.0, crf=video_files.LOSSLESS
    )


def _mask_picture(mask: masks.Picture, sizes: Sizes, options: masks.MaskOptions) -> Image.Image:
    image = masks.opened(mask, "mask").convert("L")
    return _fitted(masks.prepared(image, image.size, options), sizes).convert("RGB")


def _png(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
