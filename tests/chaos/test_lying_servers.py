"""Servers that say what is not so, or what nobody can read: the exact file is placed, or nothing and one reason."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from comfyops.errors import DownloadError, UntrustedSourceError
from comfyops.models.sources.url import Url
from comfyops.models.sources.web import Web
from comfyops.models.transfer import FileRequest, FileResult, Transfers, TransferSettings
from comfyops.models.trust import Trust
from tests.chaos.liar import Asked, Liar, head, telling
from tests.chaos.plans import WHOLE, content

DATA = content(6_000_000)
SHA = hashlib.sha256(DATA).hexdigest()
SETTINGS = TransferSettings(connections=4, stall_timeout=2.0, attempts=4)

Answer = Callable[[Liar, Asked], tuple[str, bytes]]


def fetch(folder: Path, url: str, size: int | None = len(DATA), sha256: str | None = SHA) -> FileResult:
    """The file, or why not; what lies in the folder is looked at."""
    target = folder / "model.bin"
    (result,) = Transfers(SETTINGS).run([FileRequest("model", target, (url,), size, sha256)])
    assert target.exists() is result.ok
    assert not result.ok or target.read_bytes() == DATA
    return result


def ranges(*headers: str, shift: int = 0, end: int = 0) -> Answer:
    """HEAD and whole files are told truly; a part comes with these headers, or with the bytes `shift` further."""

    def answer(liar: Liar, asked: Asked) -> tuple[str, bytes]:
        if asked.method == "HEAD" or not asked.ranged:
            return liar.honest(asked)
        body = liar.data[asked.start : min(asked.end, asked.start + end) if end else asked.end]
        first = asked.start + shift
        place = f"Content-Range: bytes {first}-{first + len(body) - 1}/{len(liar.data)}"
        return head(206, f"Content-Length: {len(body)}", *(headers or (place,))), body

    return answer


def heads(*lines: str, status: int = 200) -> Answer:
    """Only HEAD is answered strangely."""
    return lambda liar, asked: (head(status, *lines), b"") if asked.method == "HEAD" else liar.honest(asked)


def always(*headers: str, etag: str = 'ETag: "v1"') -> Answer:
    """The truth, with these headers."""
    return lambda liar, asked: liar.honest(asked, *headers, etag=etag)


def first(*lines: str, status: int, of: int = 3) -> Answer:
    """The first answers after HEAD are these, then the truth."""

    def answer(liar: Liar, asked: Asked) -> tuple[str, bytes]:
        strange = asked.method == "GET" and asked.number <= of
        return (head(status, "Content-Length: 0", *lines), b"") if strange else liar.honest(asked)

    return answer


def zipped(liar: Liar, asked: Asked) -> tuple[str, bytes]:
    """The whole file comes compressed, and so HEAD tells the length of that; parts do not."""
    if asked.ranged:
        return liar.honest(asked)
    body = gzip.compress(liar.data, 1)
    return head(200, f"Content-Length: {len(body)}", "Content-Encoding: gzip", 'ETag: W/"v1"'), body


SURVIVED: dict[str, Answer] = {
    "ranges that are others": ranges(shift=5),
    "parts without a range": ranges("X-Nothing: here"),
    "a range that is none": ranges("Content-Range: bytes */*"),
    "a total that is another": ranges("Content-Range: bytes 0-5/9"),
    "a total of a thousand digits": ranges("Content-Range: bytes 0-5/" + "9" * 5000),
    "parts that are several": ranges("Content-Type: multipart/byteranges; boundary=x"),
    "parts that are shorter than asked": ranges(end=700_000),
    "a unit in capitals": lambda liar, asked: tuple(  # type: ignore[return-value]
        part.replace("bytes ", "Bytes ") if isinstance(part, str) else part for part in liar.honest(asked)
    ),
    "an ETag of each answer": lambda liar, asked: liar.honest(asked, etag=f'ETag: "v{asked.number}"'),
    "an ETag of each replica": lambda liar, asked: liar.honest(asked, etag=f'ETag: "v{asked.number % 2}"'),
    "a weak ETag": always(etag='ETag: W/"v1"'),
    "a weak ETag of HEAD only": lambda liar, asked: liar.honest(
        asked, etag='ETag: W/"v1"' if asked.method == "HEAD" else 'ETag: "v1"'
    ),
    "an ETag that cannot be said back": always(etag='ETag: "a\r\n b"'),
    "a date instead of an ETag": always("Last-Modified: Sun, 09 Sep 2001 01:46:40 GMT", etag=""),
    "a coding that is none": always("Content-Encoding: UTF-8"),
    "whole files compressed": zipped,
    "no HEAD (404)": heads("Content-Length: 0", status=404),
    "no HEAD (405)": heads("Content-Length: 0", status=405),
    "no HEAD (500)": heads("Content-Length: 0", status=500),
    "no length in HEAD": heads("Content-Length: 0"),
    "a length that is no number": heads("Content-Length: much"),
    "416 in the middle": first(status=416, of=2),
    "a wait of minus five": first("Retry-After: -5", status=429),
    "a wait that is no number": first("Retry-After: nan", status=503),
    "a wait until the year 9...9": first("Retry-After: Fri, 20 Nov 99999999999999999999 10:00:00 GMT", status=429),
    "a wait until yesterday": first("Retry-After: Sun, 09 Sep 2001 01:46:40 GMT", status=429),
    "linked sizes that are none": always("X-Linked-Size: " + "9" * 5000),
    "linked sizes in other digits": always("X-Linked-Size: \u00b2"),
}


@pytest.mark.parametrize("lie", SURVIVED)
def test_the_exact_file_is_placed_in_spite_of(lie: str, tmp_path: Path) -> None:
    with telling(Liar(DATA, SURVIVED[lie])) as url:
        result = fetch(tmp_path, url)
        assert result.error is None
        assert fetch(tmp_path / "unknown", url, size=None).error is None


REFUSED: dict[str, tuple[Answer, str]] = {
    "everything compressed": (
        lambda liar, asked: (head(200, "Content-Length: 9", "Content-Encoding: br"), b"x" * 9),
        "compresses the file",
    ),
    "a byte at a time": (ranges(end=1), "the connection was closed early"),
    "a wait of ages": (first("Retry-After: 99999999999999999999", status=429, of=99), "for more than a day"),
    "a wait without end": (first("Retry-After: inf", status=429, of=99), "for more than a day"),
    "another protocol": (lambda liar, asked: ("SSH-2.0-\x1b[31mOpen\r\n", b""), "SSH-2.0-?[31mOpen."),
    "a redirect to nowhere": (heads("Location: http://[", status=302), "not an address"),
    "a redirect to nowhere, later": (first("Location: http://[", status=302, of=99), "not an address"),
    "a redirect to a file": (heads("Location: file:///etc/passwd", status=302), "not an address of http"),
    "a redirect to an impossible name": (heads("Location: http://a..b/", status=302), "label empty or too long"),
}


@pytest.mark.parametrize("lie", REFUSED)
def test_nothing_is_placed_and_one_line_says_why_where_there_is(lie: str, tmp_path: Path) -> None:
    answer, words = REFUSED[lie]
    liar = Liar(DATA, answer, closes=lie in ("a byte at a time", "another protocol"))
    with telling(liar) as url:
        result = fetch(tmp_path, url)
    assert result.error is not None and words in result.error.message
    assert str(result.error.message).isprintable()
    assert len(liar.asked) < 100, "it is left in peace"


def test_other_files_come_though_one_server_is_mad(tmp_path: Path) -> None:
    with telling(Liar(DATA, heads("Location: http://[", status=302))) as mad, telling(Liar(DATA, always())) as good:
        requests = [FileRequest(f"{n}", tmp_path / f"{n}", (url,), sha256=SHA) for n, url in enumerate((mad, good))]
        results = Transfers(SETTINGS).run(requests)
    assert [result.ok for result in results] == [False, True]


@pytest.mark.skipif(not WHOLE, reason="takes ten seconds, after which a connection is compared with the others")
@pytest.mark.timeout(120)
def test_a_connection_that_crawls_is_left_for_another(tmp_path: Path) -> None:
    """Of four connections one gets three bytes a second; the others are done, and their speed is remembered."""
    began: list[int] = []

    def crawls(asked: Asked) -> bool:
        if asked.method == "GET" and asked.start == 0:
            began.append(asked.number)
        return asked.start == 0 and len(began) == 1

    data = content(24_000_000)
    with telling(Liar(data, always(), crawls=crawls)) as url:
        target = tmp_path / "model.bin"
        (result,) = Transfers(SETTINGS).run(
            [FileRequest("model", target, (url,), sha256=hashlib.sha256(data).hexdigest())]
        )
    assert result.ok


def test_another_store_of_the_same_hub_has_other_etags_and_nothing_is_fetched_twice(tmp_path: Path) -> None:
    """Each address is good for one part; the hub says for each new one that it has the same SHA-256."""
    used: set[str] = set()

    def moving(liar: Liar, asked: Asked) -> tuple[str, bytes]:
        if asked.path == "/model.bin":
            linked = (f"X-Linked-Size: {len(DATA)}", f'X-Linked-ETag: "{SHA}"', "Content-Length: 0")
            return head(302, f"Location: /store-{asked.number}", *linked), b""
        if asked.path in used:
            return head(403, "Content-Length: 0"), b""
        if asked.method == "GET":
            used.add(asked.path)
        return liar.honest(asked, etag=f'ETag: "{asked.path}"')

    with telling(Liar(DATA, moving)) as url:
        result = fetch(tmp_path, url)
    assert result.error is None and len(used) > 1
    assert result.downloaded_bytes == len(DATA)


def test_what_failed_before_its_first_byte_leaves_nothing_on_the_disk(tmp_path: Path) -> None:
    with telling(Liar(DATA, first(status=400, of=99))) as url:
        assert not fetch(tmp_path, url).ok
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "lie", ["no HEAD (404)", "no length in HEAD", "a length that is no number", "whole files compressed"]
)
def test_a_plan_is_told_the_true_size_too(lie: str) -> None:
    with telling(Liar(DATA, SURVIVED[lie])) as url:
        web = Web(Trust().also(url))
        assert Url().describe(url, web).size == len(DATA)


@pytest.mark.parametrize("wait", ["9" * 5000, "Fri, 20 Nov 2099 10:00:00 GMT"])
def test_a_plan_does_not_wait_for_a_source_that_wants_to_be_left_alone_for_days(wait: str) -> None:
    with telling(Liar(DATA, lambda liar, asked: (head(429, "Content-Length: 0", f"Retry-After: {wait}"), b""))) as url:
        web = Web(Trust().also(url))
        with pytest.raises(DownloadError, match="answers 429, and wants to be left alone for more than a day"):
            Url().describe(url, web)


def test_a_plan_is_told_of_a_redirect_to_nowhere() -> None:
    for location in ("http://[", "http://a..b/"):
        with telling(Liar(DATA, heads(f"Location: {location}", status=302))) as url:
            web = Web(Trust().also(url).also("http://a..b/"), first_pause=0.0)
            with pytest.raises((DownloadError, UntrustedSourceError), match=r"not an address|cannot be asked"):
                Url().describe(url, web)
