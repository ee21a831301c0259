"""What a server gave, cut to what was asked for: files and frames agree in size and number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comfyops.errors import InputError, RunFailedError
from comfyops.execution import frames, masks, video_files
from comfyops.execution.frames import Frames
from comfyops.execution.input_files import Sizes
from comfyops.execution.mattes import write_webp
from comfyops.support import png_text
from comfyops.support.files import write_bytes


def finished(paths: Sequence[Path], sizes: Sizes) -> tuple[Frames, tuple[str, ...]]:
    """The frames of these outputs, files rewritten where they are longer or larger than asked for, and remarks.

    Raises RunFailedError for an output that cannot be decoded, StorageError, MissingExtraError.
    """
    remarks: list[str] = []
    try:
        found = frames.opened(paths, sizes.fps, sizes.made_frames)
        for path, count in zip(found.paths, found.counts, strict=True):
            remarks += _finish(path, count, found, sizes)
        found = frames.opened(paths, sizes.fps, sizes.frames)
    except InputError as error:
        raise RunFailedError(f"The server gave a damaged file: {error.message}", hint="Run it again.") from error
    if sizes.frames and len(found) < sizes.frames:
        remarks.append(f"The server gave {len(found)} frames of {sizes.frames} asked for.")
    return found, tuple(remarks)


def _finish(path: Path, count: int, found: Frames, sizes: Sizes) -> Iterator[str]:
    wanted = sizes.frames if sizes.frames and sizes.frames < count else count
    size = sizes.wanted or found.size
    too_large = sizes.wanted is not None and _exceeds(found.size, size)
    if wanted == count and not too_large:
        return
    pictures = (masks.cut(picture, size) for picture in masks.lengthened(frames.decoded(path, sizes.fps), wanted))
    if wanted < count:
        yield f"{path.name}: the model made {count} frames; the first {wanted} are kept."
    if too_large:
        yield f"{path.name}: made at {found.size[0]} x {found.size[1]}, cut to {size[0]} x {size[1]}."
    _rewrite(path, pictures, found.fps or sizes.fps or 24.0)


def _exceeds(made: tuple[int, int], wanted: tuple[int, int]) -> bool:
    return made != wanted and made[0] >= wanted[0] and made[1] >= wanted[1]


def _rewrite(path: Path, pictures: Iterable[Image.Image], fps: float) -> None:
    if frames.is_video(path):
        data = video_files.encoded(pictures, fps, metadata=video_files.metadata_of(path), sound=path)
        write_bytes(path, data)
    elif path.suffix.lower() == ".png":
        _rewrite_png(path, next(iter(pictures)))
    else:
        write_webp(path, list(pictures), fps)


def _rewrite_png(path: Path, picture: Image.Image) -> None:
    texts = png_text.texts(path.read_bytes())
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    buffer = BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    write_bytes(path, buffer.getvalue())
