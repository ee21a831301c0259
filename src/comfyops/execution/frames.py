"""Frames of pictures and videos as Pillow images, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, overload

from PIL import Image, ImageSequence, UnidentifiedImageError

from comfyops.errors import InputError, MissingFileError
from comfyops.execution import extras
from comfyops.execution.masks import lengthened
from comfyops.support.files import check_folder, storage_error

VIDEOS = frozenset({".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v"})
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".apng"})

Channel = Literal["", "rgb", "alpha"]
"""Which part of each picture: as it is, its colours, or its alpha as a grey picture (white = visible)."""


@dataclass(frozen=True)
class Frames(Sequence[Image.Image]):
    """The frames of files, one after the other. Nothing is kept in memory: each access decodes anew.

    `counts` is how many frames each of the files has, `size` is that of the first frame (0, 0 without frames).
    """

    paths: tuple[Path, ...]
    counts: tuple[int, ...]
    size: tuple[int, int] = (0, 0)
    fps: float | None = None
    channel: Channel = ""

    def __len__(self) -> int:
        return sum(self.counts)

    def __iter__(self) -> Iterator[Image.Image]:
        for path, count in zip(self.paths, self.counts, strict=True):
            for picture in lengthened(decoded(path, self.fps), count):
                yield _part(picture, self.channel)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> list[Image.Image]: ...
    def __getitem__(self, index: int | slice) -> Image.Image | list[Image.Image]:
        if isinstance(index, slice):
            wanted = range(*index.indices(len(self)))
            found = {at: picture for at, picture in enumerate(self) if at in wanted}
            return [found[at] for at in wanted]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"There are {len(self)} frames, and no number {index}.")
        return next(islice(iter(self), at, None))

    def part(self, channel: Channel) -> Frames:
        """The same frames, only their colours or only their alpha."""
        return Frames(self.paths, self.counts, self.size, self.fps, channel)

    def save(self, folder: Path, prefix: str = "frame") -> tuple[Path, ...]:
        """Write every frame as PREFIX_00001.png and so on.

        Raises StorageError.
        """
        check_folder(folder)
        written = []
        for number, picture in enumerate(self, 1):
            path = folder / f"{prefix}_{number:05}.png"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                picture.save(path)
            except OSError as error:
                raise storage_error(error, path) from error
            written.append(path)
        return tuple(written)


def opened(paths: Sequence[Path], fps: float | None = None, length: int | None = None) -> Frames:
    """The frames of picture and video files, counted by decoding them once; other files are left out.

    `fps` is what an animated picture is known to show in a second: its encoder may have joined equal frames. `length`
    is how many frames a WebP stands for whose frames are all equal: it is written as a still picture.

    Raises InputError for a file that cannot be decoded to its end, MissingFileError, MissingExtraError.
    """
    shown = [path for path in paths if is_video(path) or path.suffix.lower() in PICTURES]
    counts, size, rate = [], (0, 0), fps
    for path in shown:
        count = 0
        for picture in decoded(path, fps):
            size = picture.size if size == (0, 0) else size
            count += 1
        counts.append(length if length and count == 1 and path.suffix.lower() == ".webp" else count)
        rate = rate or fps_of(path)
    return Frames(tuple(shown), tuple(counts), size, rate)


def is_video(path: Path) -> bool:
    """Whether a file's name says video."""
    return path.suffix.lower() in VIDEOS


def decoded(path: Path, fps: float | None = None) -> Iterator[Image.Image]:
    """The frames of one file, `fps` as for `opened`.

    Raises InputError, MissingFileError, MissingExtraError.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} cannot be read: it does not exist.", path=str(path))
    return _video(path) if is_video(path) else _pictures(path, fps)


def fps_of(path: Path) -> float | None:
    """Frames per second of a video or an animated picture, None for a still one."""
    if is_video(path):
        with extras.video_library().open(str(path)) as source:
            rate = source.streams.video[0].average_rate if source.streams.video else None
            return float(rate) if rate else None
    shortest = min((milliseconds for _, milliseconds in _timed(path)), default=0)
    return 1000 / shortest if shortest else None


def _video(path: Path) -> Iterator[Image.Image]:
    av = extras.video_library()
    try:
        with av.open(str(path)) as source:
            for frame in source.decode(video=0):
                yield frame.to_image()
    except (av.error.FFmpegError, IndexError) as error:
        raise InputError(f"{path} is no video that can be read.", hint="Use an MP4 file.") from error


def _pictures(path: Path, fps: float | None) -> Iterator[Image.Image]:
    """Frames of a picture; one that lasts longer than a frame stands for several."""
    unit = int(1000 / fps) if fps else min((milliseconds for _, milliseconds in _timed(path)), default=0)
    for picture, milliseconds in _timed(path):
        for _ in range(max(round(milliseconds / unit), 1) if unit else 1):
            yield picture


def _timed(path: Path) -> Iterator[tuple[Image.Image, int]]:
    try:
        with Image.open(path) as image:
            for frame in ImageSequence.Iterator(image):
                picture = frame.copy()
                yield picture, int(frame.info.get("duration", 0) or 0)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is no picture that can be read.", hint="Use a PNG, JPEG or WebP file.") from error


def _part(picture: Image.Image, channel: Channel) -> Image.Image:
    if channel == "rgb":
        return picture.convert("RGB")
    if channel == "alpha":
        return picture.convert("RGBA").getchannel("A")
    return picture
