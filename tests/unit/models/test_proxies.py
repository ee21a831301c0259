"""Questions and downloads through a proxy."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from comfyops.errors import DownloadError, UsageError
from comfyops.models import storage
from comfyops.models.provision import Outcome, Provision
from comfyops.models.sources import Web, describe
from comfyops.models.transfer.request import TransferSettings
from comfyops.models.trust import Trust
from comfyops.support import proxies
from comfyops.testing.model_hub import ModelHub
from tests.unit.models.forward_proxy import ForwardProxy
from tests.unit.models.shelf import HF, entry, wanted, weights

DATA = weights(2_000_000)
NAME = "org/repo/a.safetensors"


class FarHub(ModelHub):
    """A hub whose store has a name that only the proxy knows."""

    @property
    def store(self) -> str:
        return "https://cdn-lfs.hf.co"


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate for the names of Hugging Face, trusted by this machine."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    file = tmp_path / "certificate.pem"
    names = "subjectAltName=DNS:huggingface.co,DNS:cdn-lfs.hf.co"
    words = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext {names}".split()
    subprocess.run([*words, "-keyout", file, "-out", tmp_path / "public.pem"], check=True, capture_output=True)
    file.write_text(file.read_text() + (tmp_path / "public.pem").read_text())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "public.pem"))
    return file


def port(url: str) -> int:
    found = urlsplit(url).port
    assert found
    return found


def never(host: str) -> Iterable[str]:
    """The names that a proxy looks up are not looked up here."""
    raise AssertionError(f"{host} was looked up")


def asking(through: proxies.Proxies, trust: Trust | None = None) -> Web:
    trust = trust or Trust(tokens={"huggingface.co": "secret-token"}, resolve=never, proxies=through)
    return Web(trust, proxies=through, first_pause=0.01, attempts=2)


def fetched(root: Path, web: Web, url: str) -> Outcome:
    settings = TransferSettings(allow=web.trust.allow, token_for=web.trust.token_for, proxies=web.proxies, attempts=2)
    work = Provision(storage.of_folder(root), web, settings)
    plan = work.plan(work.check(wanted(entry(urls=(url,)))))
    assert not plan.blocked, plan.blocked
    (outcome,) = work.fetch(plan.fetch)
    return outcome


def test_https_goes_through_a_proxy_that_sees_names_only(tmp_path: Path, certificate: Path) -> None:
    with FarHub({NAME: DATA}, certificate=certificate) as hub:
        leads = {"huggingface.co:443": port(hub.endpoint), "cdn-lfs.hf.co:443": hub._servers[1].server_address[1]}
        with ForwardProxy(leads, login="me:p w") as proxy:
            through = proxies.parse("", f"http://me:p%20w@127.0.0.1:{proxy.port}", "")
            outcome = fetched(tmp_path / "m", asking(through), f"{HF}/org/repo/resolve/main/a.safetensors")
            assert outcome.ok and Path(outcome.path).read_bytes() == DATA, outcome
            names = {line.split()[1] for line in proxy.heads}
            assert names == set(leads) and all(line.startswith("CONNECT ") for line in proxy.heads)
            assert b"secret-token" not in proxy.seen and b"a.safetensors" not in proxy.seen
        assert {item.token for item in hub.asked("hub")} == {"Bearer secret-token"}
        assert {item.token for item in hub.asked("store")} == {None}


def test_a_proxy_that_wants_a_login_is_said(tmp_path: Path) -> None:
    with ForwardProxy({}, login="me:right") as proxy:
        through = proxies.parse("", f"http://me:wrong@127.0.0.1:{proxy.port}", "")
        with pytest.raises(DownloadError, match="407") as caught:
            describe(f"{HF}/org/repo/resolve/main/a.safetensors", asking(through))
        assert "wrong" not in str(caught.value)


def test_http_is_asked_of_a_proxy_whole(tmp_path: Path) -> None:
    with ModelHub({NAME: DATA}) as hub, ForwardProxy({"mirror.test:8000": port(hub.endpoint)}) as proxy:
        through = proxies.parse(f"127.0.0.1:{proxy.port}", "", "")
        own = frozenset({"mirror.test:8000"})
        trust = Trust(own, own, resolve=never, proxies=through)
        url = f"http://mirror.test:8000/plain/{NAME}"
        outcome = fetched(tmp_path, asking(through, trust), url)
        assert outcome.ok and Path(outcome.path).read_bytes() == DATA
        assert {line.split()[1] for line in proxy.heads} == {url}


def test_without_a_proxy_a_name_is_looked_up_here() -> None:
    through = proxies.parse("", "http://127.0.0.1:1", "huggingface.co")
    with pytest.raises(AssertionError, match=r"huggingface\.co was looked up"):
        asking(through).trust.allow(f"{HF}/a")
    asking(through).trust.allow("https://civitai.com/a")


@pytest.mark.parametrize(
    ("url", "direct"),
    [
        *(("http://localhost:1/", ""), ("https://127.0.0.1/", ""), ("https://[::1]:4/", ""), ("https://a.b.c/", "b.c")),
        *(("https://b.c/", ".b.c"), ("https://x.b.c/", "*.b.c"), ("https://anything/", "a, *"), ("http://h/", "h:80")),
        *(
            ("https://10.1.2.3/", "10.0.0.0/8"),
            ("https://[fd00::5]:8/", "[fd00::5]:8"),
            ("https://10.1.2.3/", "10.1.2.3"),
        ),
    ],
)
def test_what_is_asked_directly(url: str, direct: str) -> None:
    assert proxies.parse("http://p:1", "http://p:1", direct).of(url) is None


@pytest.mark.parametrize(
    ("url", "direct"),
    [
        *(
            ("https://ab.c/", "b.c"),
            ("https://h:8443/", "h:443"),
            ("https://11.0.0.1/", "10.0.0.0/8"),
            ("https://h/", ""),
        ),
        *(("https://localhosts/", ""), ("https://b.c.d/", "b.c")),
    ],
)
def test_what_is_not(url: str, direct: str) -> None:
    assert proxies.parse("", "http://p:1", direct).of(url) == proxies.Proxy("p", 1)


@pytest.mark.parametrize("text", ["socks5://p:1", "https://p:1", "http://", "http://p:port", "http://[::1"])
def test_what_is_no_proxy_is_refused_without_its_password(text: str) -> None:
    through = proxies.parse("", text, "inside.test")
    assert through.of("https://inside.test/") is None and through.of("http://h/") is None, "nothing goes through it"
    with pytest.raises(UsageError, match="HTTPS_PROXY"):
        through.of("https://h/")
    assert "geheim" not in repr(proxies.parse("http://me:geheim@p:1", "", ""))
