"""Forms with a file, read piece by piece, whoever sent them."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import pytest

from comfyops.gateway import forms

KIND = "multipart/form-data; boundary=x"


def part(head: str, body: bytes) -> bytes:
    return b"--x\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + body + b"\r\n"


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(body: bytes, kind: str = KIND, size: int = 7, limit: int | None = None) -> tuple[forms.Form, bytes]:
    data = io.BytesIO()
    return await forms.read(pieces(body, size), kind, data, "file", limit), data.getvalue()


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
async def test_fields_and_file_come_whole_however_they_are_cut(size: int) -> None:
    file = part('name="file"; filename="h\u00fct.png"\r\nContent-Type: image/png', b"\r\n--y" * 30_000)
    body = part('name="a"', b"1") + part('name="tags"', b"t") + part('name="tags"', b"u") + file + b"--x--\r\n"
    form, data = await read(body, size=size)
    assert (form.fields, form.first("a"), form.first("none")) == ({"a": ["1"], "tags": ["t", "u"]}, "1", "")
    assert (form.filename, form.content_type, form.size) == ("h\u00fct.png", "image/png", len(data))
    assert data == b"\r\n--y" * 30_000


async def test_a_form_without_a_file_or_a_name_says_so() -> None:
    assert (await read(part('name="a"', b"1") + b"--x--\r\n"))[0].size is None
    form, data = await read(part('name="file"', b"bytes") + b"--x--\r\n")
    assert (form.filename, form.size, data) == ("", 5, b"bytes")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (part('name="file"; filename="a"', b"1") * 2 + b"--x--\r\n", 400),
        (part('name="a"', b"1") * 201 + b"--x--\r\n", 400),
        (part('name="a"', b"1" * (forms.FIELD_BYTES + 1)) + b"--x--\r\n", 400),
        (part(f'name="{"a" * forms.FIELD_BYTES}"', b"1") + b"--x--\r\n", 400),
        (part("nothing", b"1") + b"--x--\r\n", 400),
        (part('name="file"; filename="a"', b"1" * 101) + b"--x--\r\n", 413),
        (b"no form at all", 400),
    ],
)
async def test_what_is_no_form_or_too_much_is_refused(body: bytes, status: int) -> None:
    with pytest.raises(forms.FormError) as caught:
        await read(body, limit=100)
    assert caught.value.status == status


@pytest.mark.parametrize("kind", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=x"])
async def test_other_bodies_are_no_forms(kind: str) -> None:
    with pytest.raises(forms.FormError, match="no form"):
        await read(b"--x--\r\n", kind)


async def test_a_boundary_that_is_too_long_is_refused() -> None:
    with pytest.raises(forms.FormError) as caught:
        await read(b"", f"multipart/form-data; boundary={'x' * 5_000}")
    assert caught.value.status == 400
