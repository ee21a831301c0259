"""What ComfyUI is told at its start."""

from __future__ import annotations

import pytest

from comfyops.deploy.spec import LaunchSpec, arguments, behind_door, spec
from comfyops.errors import UsageError


def test_the_arguments_are_those_that_comfyui_takes() -> None:
    chosen = spec("0.0.0.0", 8000, ["http://localhost:3000/"], ["--lowvram"])
    given = ("--listen", "0.0.0.0", "--port", "8000", "--enable-cors-header", "http://localhost:3000")
    assert arguments(chosen, has_gpu=True) == (*given, "--lowvram")
    assert arguments(chosen, has_gpu=False) == (*given, "--cpu", "--lowvram")


@pytest.mark.parametrize("extra", ["--cpu", "--directml", "--cuda-device=1"])
def test_a_device_that_is_named_is_left_alone(extra: str) -> None:
    assert arguments(spec(extra=[extra]), has_gpu=False)[-2:] == ("8188", extra)


def test_it_listens_to_this_machine_alone_and_lets_no_page_in() -> None:
    assert arguments(spec(), has_gpu=True) == ("--listen", "127.0.0.1", "--port", "8188")
    assert not spec().is_open and not spec("localhost").is_open and not spec("::1,127.0.0.2").is_open
    assert spec("0.0.0.0").is_open and spec("127.0.0.1,192.168.1.5").is_open and spec("::").is_open


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8188"),
        ("0.0.0.0", "http://127.0.0.1:8188"),
        ("::", "http://[::1]:8188"),
        ("0.0.0.0,::", "http://127.0.0.1:8188"),
        ("fd00::1", "http://[fd00::1]:8188"),
        ("192.168.1.5", "http://192.168.1.5:8188"),
    ],
)
def test_it_is_asked_where_it_listens(listen: str, url: str) -> None:
    assert LaunchSpec(listen).url == url


def test_with_a_certificate_it_is_asked_over_https() -> None:
    assert spec(extra=["--tls-keyfile", "key.pem"]).url == "https://127.0.0.1:8188"


@pytest.mark.parametrize("extra", ["--port", "--port=1", "--listen", "--enable-cors-header", "--po", "--enable-cors=*"])
def test_what_has_an_option_of_ours_must_not_be_said_twice(extra: str) -> None:
    with pytest.raises(UsageError, match="must not stand after --"):
        spec(extra=[extra, "1"])


def test_other_options_and_their_values_pass() -> None:
    extra = ("--preview-method", "auto", "-", "--", "--portable", "--listening")
    assert spec(extra=extra).extra == extra


@pytest.mark.parametrize("origin", ["localhost:3000", "http://", "http://a b", "http://x/path", "", "ftp://x"])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(UsageError, match="no origin"):
        spec(origins=[origin])


def test_several_origins_need_a_door_and_comfyui_behind_it_lets_no_page_in() -> None:
    assert spec(origins=["http://a", "http://a/"]).origins == ("http://a",)
    assert spec(origins=["http://a", "*"]).origins == ("*",) and not spec(origins=["http://a", "*"]).needs_door
    several = spec("0.0.0.0", 8000, ["http://localhost:3000", "http://localhost:5176"], ["--lowvram"])
    assert several.needs_door
    inner = arguments(behind_door(several, 9000), has_gpu=True)
    assert inner == ("--listen", "127.0.0.1", "--port", "9000", "--lowvram")
    with pytest.raises(UsageError, match="certificate"):
        spec(origins=several.origins, extra=["--tls-keyfile", "key.pem"])
