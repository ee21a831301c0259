"""Pictures and masks made ready for a model: sizes, edges, soft borders. White in a mask means: change this."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter, ImageOps, UnidentifiedImageError

from comfyops.errors import InputError, UsageError
from comfyops.support.files import read_bytes

Picture = Path | Image.Image
"""A picture: a file, or already in memory."""


@dataclass(frozen=True, slots=True)
class MaskOptions:
    """How masks are prepared: pixels of blur, pixels by which they reach out softly, whether black means change."""

    blur: float = 0.0
    feather: int = 0
    invert: bool = False

    def __post_init__(self) -> None:
        if self.blur < 0 or self.feather < 0:
            raise UsageError("Blur and feather of a mask are pixels, zero or more.", hint="Give zero or more.")


def opened(picture: Picture, what: str = "picture") -> Image.Image:
    """The picture, turned as its EXIF data says.

    Raises InputError for a file that is none, MissingFileError.
    """
    if isinstance(picture, Image.Image):
        return picture
    data = read_bytes(picture)
    try:
        with Image.open(BytesIO(data)) as image:
            return ImageOps.exif_transpose(image).copy()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{picture} is no {what} that can be read.", hint="Use a PNG, JPEG or WebP file.") from error


def prepared(mask: Picture, size: tuple[int, int], options: MaskOptions) -> Image.Image:
    """A mask in grey, of this size, inverted, grown and blurred as wished."""
    grey = opened(mask, "mask").convert("L").resize(size, Image.Resampling.BILINEAR)
    if options.invert:
        grey = ImageChops.invert(grey)
    if options.feather:
        grown = grey.filter(ImageFilter.MaxFilter(2 * options.feather + 1))
        grey = ImageChops.lighter(grey, grown.filter(ImageFilter.GaussianBlur(options.feather / 2)))
    return grey.filter(ImageFilter.GaussianBlur(options.blur)) if options.blur else grey


def padded(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture in the middle of a larger one, whose border continues it."""
    if picture.size == size:
        return picture
    canvas = picture.resize(size, Image.Resampling.BILINEAR)
    canvas.paste(picture, corner(picture.size, size))
    return canvas


def corner(inner: tuple[int, int], outer: tuple[int, int]) -> tuple[int, int]:
    """Where the left upper corner of the inner of two centred sizes is."""
    return (outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2


def cut(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of a picture, in this size; the picture itself where it is no larger."""
    if picture.width < size[0] or picture.height < size[1] or picture.size == size:
        return picture
    left, top = corner(size, picture.size)
    return picture.crop((left, top, left + size[0], top + size[1]))


def lengthened(pictures: Iterable[Image.Image], count: int) -> Iterator[Image.Image]:
    """The first `count` pictures; where there are fewer, the last one again and again."""
    last, given = None, 0
    for last in pictures:
        if given == count:
            return
        given += 1
        yield last
    while last is not None and given < count:
        given += 1
        yield last


def per_frame(masks: Sequence[Picture], frames: int) -> Sequence[Picture]:
    """One mask for each frame: a single one serves all.

    Raises UsageError where their number fits neither.
    """
    if len(masks) == 1:
        return list(masks) * frames
    if len(masks) != frames:
        words = f"There are {len(masks)} masks for {frames} frames."
        raise UsageError(words, hint="Give one mask for all frames, or one for each.")
    return masks
