"""Files judged by their beginning: whole, cut short, another format, a web page, a pickle."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
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
    formats.check(file(tmp_path, "a.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + b"rest"))
    formats.check(file(tmp_path, "old.gguf", b"GGUF" + struct.pack("<III", 1, 5, 7) + bytes(99)))
    for data in (b"GGML" + bytes(30), b"GGUF", b"GGUF" + struct.pack("<IQQ", 99, 5, 7), GOOD):
        with pytest.raises(IntegrityError):
            formats.check(file(tmp_path, "b.gguf", data))


@pytest.mark.parametrize(
    "rest",
    [
        (2**31, 0, b""),
        (0, 2**31, b""),
        (1, 0, struct.pack("<Q", 2**62)),
        (0, 1, struct.pack("<Q", 1) + b"k" + struct.pack("<I", 8) + struct.pack("<Q", 2**40) + bytes(50)),
        (0, 1, struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 4, 2**61) + bytes(50)),
        (0, 1, struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, 2**20) + bytes(50)),
    ],
)
def test_a_gguf_file_whose_header_says_more_than_there_is_was_cut(tmp_path: Path, rest: tuple[int, int, bytes]) -> None:
    tensors, values, data = rest
    with pytest.raises(IntegrityError, match="before it is whole"):
        formats.check(file(tmp_path, "a.gguf", b"GGUF" + struct.pack("<IQQ", 3, tensors, values) + data))


def test_a_gguf_file_is_found_out_wherever_its_header_is_cut(tmp_path: Path) -> None:
    whole = gguf()
    for size in range(24, 200, 7):
        with pytest.raises(IntegrityError):
            formats.check(file(tmp_path, "a.gguf", whole[:size]))


ONE = b'"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}'


def tensors(**named: object) -> bytes:
    """A header of tensors of 8 bytes each, and 16 bytes of data."""
    full = {name: {"dtype": "U8", "shape": [8], **item} for name, item in named.items()}  # type: ignore[dict-item]
    return headed(json.dumps(full).encode(), bytes(16))


def at(first: object, last: object, **further: object) -> dict[str, object]:
    return {"data_offsets": [first, last], **further}


def test_types_of_any_width_are_taken_and_unknown_ones_left_alone(tmp_path: Path) -> None:
    for item in (at(0, 16, dtype="F32", shape=[2, 2]), at(0, 16, dtype="F4", shape=[32]), at(0, 16, dtype="NEW")):
        formats.check(file(tmp_path, "a.safetensors", tensors(a=item)))
    formats.check(file(tmp_path, "a.safetensors", tensors(a=at(8, 16), b=at(0, 8), c=at(8, 8, shape=[0]))))
    formats.check(
        file(tmp_path, "a.safetensors", headed(b'{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}} ', b"x"))
    )


@pytest.mark.parametrize(
    "data",
    [
        tensors(a=at(0, 16, shape=[16]), b=at(8, 16)),
        tensors(a=at(0, 8), b=at(0, 8)),
        tensors(a=at(0, 4, shape=[4]), b=at(8, 16)),
        tensors(a=at(8, 16)),
        tensors(a=at(0, 8), b=at(8, 16, shape=[9])),
        tensors(a=at(0, 16, dtype="F32")),
        tensors(a=at(0, 16, shape=[-16])),
        tensors(a=at(0, 16, shape="16")),
        tensors(a=at(0, 16, dtype=5)),
        tensors(a=at(False, True, shape=[1])),
        tensors(a=at(0, 2**70)),
        headed(b"{%s,%s}" % (ONE, ONE), bytes(8)),
        headed(b' {"__metadata__":{}}'),
        headed(b'{"__metadata__":{"a":5}}'),
        headed('{"__metadata__":{}}'.encode("utf-16")),
        headed(b'{"a":' + b"9" * 5000 + b"}"),
    ],
)
def test_a_header_that_no_library_loads_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        formats.check(file(tmp_path, "a.safetensors", data))
    assert "set_int_max" not in caught.value.message


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


def legacy(*values: object) -> bytes:
    """Pickles one after the other, as torch wrote them before it had archives."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    return b"".join(pickle.dumps(value, protocol=2) for value in [*head, *values]) + bytes(64)


def tarred(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archived:
        item = tarfile.TarInfo("pickle")
        item.size = len(data)
        archived.addfile(item, io.BytesIO(data))
    return buffer.getvalue()


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archived:
        for name, data in members.items():
            archived.writestr(name.replace("_", "."), data)
    return buffer.getvalue()


EVIL = pickle.dumps(Evil())


@pytest.mark.parametrize("data", [legacy(Evil(), []), legacy({}, Evil()), zipped(a_txt=EVIL, data_pkl=pickle.dumps(1))])
def test_what_hides_in_old_or_renamed_forms_is_found(tmp_path: Path, data: bytes) -> None:
    pytest.importorskip("picklescan")
    with pytest.raises(UnsafeModelError, match="system"):
        formats.check(file(tmp_path, "a.pt", data), allow_pickle=True)


@pytest.mark.parametrize(
    "data",
    [
        tarred(EVIL),  # which torch unpacks and loads
        gzip.compress(EVIL),
        b"7z\xbc\xaf\x27\x1c" + bytes(99),
        b"\x80\x04\xff" + EVIL,
        legacy()[:-64] + b"\x80\x04\xff",
        pickle.dumps({"a": [1, 2, 3]})[:-1],
        GOOD,
        b"hello, world" * 9,
        bytes(999),
        zipped(readme_txt=b"hello"),
        zipped(data_pkl=b"hello"),
        zipped(data_pkl=pickle.dumps(1) + bytes(70_000_000)),
        zipped(data_pkl=pickle.dumps(1))[:-30],
        archive(1).replace(b"\x14\0\0\0", b"\x14\0\0\xff", 1).replace(b"model/data", b"model/\xffata", 1),
    ],
    ids=[
        "tar",
        "gzip",
        "7z",
        "broken",
        "broken-old",
        "cut",
        "safetensors",
        "text",
        "zeros",
        "no-pickle",
        "no-pickle-inside",
        "bomb",
        "cut-zip",
        "odd-zip",
    ],
)
def test_what_cannot_be_looked_into_is_taken_only_at_a_persons_word(tmp_path: Path, data: bytes) -> None:
    pytest.importorskip("picklescan")
    given = file(tmp_path, "a.pt", data)
    with pytest.raises(IntegrityError, match="cannot be read as a pickle"):
        formats.check(given)
    formats.check(given, allow_pickle=True)


def test_a_pickle_of_each_form_is_taken(tmp_path: Path) -> None:
    pytest.importorskip("picklescan")
    for data in (pickle.dumps({"a": 1}), pickle.dumps({"a": 1}, 0), legacy({"a": 1}, []), archive(OrderedDict(a=1))):
        formats.check(file(tmp_path, "a.PT", data))


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
