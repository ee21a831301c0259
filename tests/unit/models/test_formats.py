"""Files judged by their beginning: whole, cut short, another format, a web page, a pickle."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest

from comfyops.errors import ComfyOpsError, IntegrityError, UnsafeModelError
from comfyops.models import formats, pickles
from tests.unit.models.shelf import weights

GOOD = weights(64)


class Evil:
    """What a hostile pickle holds: nothing is run here, it is only written."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("true",)


def file(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def headed(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def test_a_whole_safetensors_file_is_taken(tmp_path: Path) -> None:
    formats.check(file(tmp_path, "a.safetensors", GOOD))
    formats.check(file(tmp_path, "a.part", GOOD), "a.safetensors")
    formats.checker("a.sft")(tmp_path / "a.part")
    formats.check(file(tmp_path, "b.safetensors", headed(b'{"__metadata__": {"a": "b"}}')))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        GOOD[:-1],
        GOOD + b"x",
        GOOD[:20],
        headed(b"[]"),
        headed(b"{"),
        headed(b"\xff\xfe"),
        struct.pack("<Q", 1 << 60) + b"{}",
        headed(b'{"a": {"data_offsets": [0, "x"]}}'),
        headed(b'{"a": {"data_offsets": [5, 1]}}', b"x"),
        headed(b'{"a": 5}'),
        headed(b"[" * 60_000),
        b"<!DOCTYPE html><html>login</html>",
        b"\n <html>",
        b'{"error":"Invalid credentials"}',
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
    ],
)
def test_anything_else_is_refused_in_one_sentence(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        formats.check(file(tmp_path, "a.safetensors", data))
    assert caught.value.message.endswith(".") and "\n" not in caught.value.message


def test_gguf_is_judged_by_magic_version_and_counts(tmp_path: Path) -> None:
    formats.check(file(tmp_path, "a.gguf", b"GGUF" + struct.pack("<IQQ", 3, 5, 7) + b"rest"))
    for data in (b"GGML" + bytes(30), b"GGUF", b"GGUF" + struct.pack("<IQQ", 99, 5, 7), GOOD):
        with pytest.raises(IntegrityError):
            formats.check(file(tmp_path, "b.gguf", data))


def test_a_file_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ComfyOpsError):
        formats.check(tmp_path / "none.safetensors")


def archive(value: object) -> bytes:
    """A pickle in a zip, as torch writes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archived:
        archived.writestr("model/data.pkl", pickle.dumps(value, protocol=2))
        archived.writestr("model/version", "3")
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["a.ckpt", "a.pt", "a.pth", "a.bin"])
def test_a_harmless_pickle_is_taken_and_a_hostile_one_refused(tmp_path: Path, name: str) -> None:
    pytest.importorskip("picklescan")
    formats.check(file(tmp_path, name, archive(OrderedDict(a=1))), allow_pickle=True)
    hostile = file(tmp_path, f"x{name}", archive(Evil()))
    for allow in (False, True):
        with pytest.raises(UnsafeModelError, match="system"):
            formats.check(hostile, allow_pickle=allow)


def test_a_bare_hostile_pickle_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("picklescan")
    with pytest.raises(UnsafeModelError):
        pickles.check(file(tmp_path, "a.pkl", pickle.dumps(Evil())), ".pkl")


def test_what_a_pickle_calls_must_be_known_or_allowed(tmp_path: Path) -> None:
    pytest.importorskip("picklescan")
    import fractions

    odd = file(tmp_path, "a.pt", archive(fractions.Fraction(1, 2)))
    with pytest.raises(UnsafeModelError, match="may be harmless or not"):
        formats.check(odd)
    formats.check(odd, allow_pickle=True)


def gguf(tensors: int = 2, kind: int = 8, elements: int = 64, alignment: int | None = 64) -> bytes:
    """A GGUF file: values of several types, then tensors of so many elements, each aligned."""
    step = alignment or 32
    size = {8: elements // 32 * 34, 1: elements * 2, 777: elements}[kind]
    values = [text(b"general.name") + struct.pack("<I", 8) + text(b"x")]
    values += [text(b"list") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"bc")]
    values += [text(b"numbers") + struct.pack("<IIQ", 9, 4, 3) + bytes(12), text(b"yes") + struct.pack("<IB", 7, 1)]
    if alignment is not None:
        values.append(text(b"general.alignment") + struct.pack("<II", 4, alignment))
    room = -(-size // step) * step
    infos = [text(b"t%d" % n) + struct.pack("<IQQIQ", 2, elements, 1, kind, n * room) for n in range(tensors)]
    head = b"GGUF" + struct.pack("<IQQ", 3, tensors, len(values)) + b"".join(values) + b"".join(infos)
    return head + bytes(-len(head) % step) + (bytes(room) * (tensors - 1) + bytes(size) if tensors else b"")


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


@pytest.mark.parametrize("kind", [8, 1])
@pytest.mark.parametrize("alignment", [None, 64, 4096])
def test_a_gguf_file_that_is_cut_short_is_found_out(tmp_path: Path, kind: int, alignment: int | None) -> None:
    whole = gguf(kind=kind, alignment=alignment)
    formats.check(file(tmp_path, "a.gguf", whole))
    formats.check(file(tmp_path, "padded.gguf", whole + bytes(13)))
    with pytest.raises(IntegrityError, match="tensors end"):
        formats.check(file(tmp_path, "b.gguf", whole[:-1]))
    assert formats.least_size(file(tmp_path, "c.part", whole[: len(whole) - 40]), "c.gguf") == len(whole)


def test_what_a_header_does_not_tell_is_not_guessed(tmp_path: Path) -> None:
    assert formats.least_size(file(tmp_path, "a.gguf", gguf(kind=777))) is None
    assert formats.least_size(file(tmp_path, "b.gguf", gguf()[:100])) is None
    assert formats.least_size(file(tmp_path, "c.safetensors", GOOD[:9])) is None
    assert formats.least_size(file(tmp_path, "d.safetensors", GOOD[: len(GOOD) - 10])) == len(GOOD)
    assert formats.least_size(file(tmp_path, "e.bin", GOOD)) is None and formats.least_size(tmp_path / "none") is None
