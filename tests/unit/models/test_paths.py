"""Paths of Windows, WSL and shares, as each machine writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyops.errors import InputError
from comfyops.models.paths import Machine, System, Unc, parse_unc, translate, windows_form

LINUX = Machine(System.POSIX)
UBUNTU = Machine(System.WSL, "Ubuntu")
MOVED = Machine(System.WSL, "Ubuntu", "/drives/")
NAMELESS = Machine(System.WSL)
WINDOWS = Machine(System.WINDOWS)
BESIDE = Machine(System.WINDOWS, "Ubuntu")


@pytest.mark.parametrize(
    ("text", "machine", "expected"),
    [
        (r"\\wsl.localhost\Ubuntu\home\me\ComfyUI", UBUNTU, "/home/me/ComfyUI"),
        (r"\\WSL.LOCALHOST\ubuntu\home\me", UBUNTU, "/home/me"),
        (r"\\wsl$\Ubuntu\home\me", UBUNTU, "/home/me"),
        (r"\\wsl$\Ubuntu", UBUNTU, "/"),
        ("\\\\wsl$\\Ubuntu\\", UBUNTU, "/"),
        ("//wsl.localhost/Ubuntu/home/me", UBUNTU, "/home/me"),
        (r"\\?\UNC\wsl.localhost\Ubuntu\home", UBUNTU, "/home"),
        (r"\\wsl.localhost\Debian\srv", NAMELESS, "/srv"),
        (r"C:\ComfyUI\models", UBUNTU, "/mnt/c/ComfyUI/models"),
        ("d:/AI/ComfyUI", UBUNTU, "/mnt/d/AI/ComfyUI"),
        ("C:\\", UBUNTU, "/mnt/c"),
        ("C:", UBUNTU, "/mnt/c"),
        (r"\\?\C:\Comfy UI", UBUNTU, "/mnt/c/Comfy UI"),
        (r'"C:\Comfy UI"', UBUNTU, "/mnt/c/Comfy UI"),
        (r"C:\ComfyUI", MOVED, "/drives/c/ComfyUI"),
        ("/mnt/c/ComfyUI", UBUNTU, "/mnt/c/ComfyUI"),
        ("~/ComfyUI", UBUNTU, "~/ComfyUI"),
        ("models", UBUNTU, "models"),
        (r"C:\ComfyUI", WINDOWS, r"C:\ComfyUI"),
        (r"\\wsl.localhost\Ubuntu\home", WINDOWS, r"\\wsl.localhost\Ubuntu\home"),
        (r"\\server\share\models", WINDOWS, r"\\server\share\models"),
        ("/mnt/c/ComfyUI/models", WINDOWS, r"C:\ComfyUI\models"),
        (r"\mnt\c\ComfyUI", WINDOWS, r"C:\ComfyUI"),
        ("/mnt/c", WINDOWS, "C:\\"),
        ("/home/me/ComfyUI", BESIDE, r"\\wsl.localhost\Ubuntu\home\me\ComfyUI"),
        ("models", WINDOWS, "models"),
        ("/home/me/ComfyUI", LINUX, "/home/me/ComfyUI"),
        ("//srv//models", LINUX, "//srv//models"),
        ("a:b", LINUX, "a:b"),
        ("/data/C:/x", LINUX, "/data/C:/x"),
    ],
)
def test_a_path_is_written_in_this_machines_way(text: str, machine: Machine, expected: str) -> None:
    assert translate(text, machine) == expected


@pytest.mark.parametrize(
    ("text", "machine", "words", "hint"),
    [
        (r"\\wsl.localhost\Debian\home", UBUNTU, "this is the distribution Ubuntu, not Debian", "wsl -d Debian"),
        (r"\\server\share\models", UBUNTU, "another machine", "drvfs"),
        (r"\\server\share\models", LINUX, "another machine", "Mount it"),
        (r"\\wsl$\Ubuntu\home", LINUX, "neither WSL nor Windows", ""),
        (r"C:\ComfyUI", LINUX, "path of Windows", ""),
        ("C:ComfyUI", UBUNTU, "starts at no folder", "C:\\ComfyUI"),
        ("/home/me", WINDOWS, "in which WSL distribution", "wsl.localhost"),
    ],
)
def test_a_path_that_cannot_be_reached_is_refused_with_what_to_do(
    text: str, machine: Machine, words: str, hint: str
) -> None:
    with pytest.raises(InputError) as caught:
        translate(text, machine)
    assert words in caught.value.message and text in caught.value.message and hint in caught.value.hint


@pytest.mark.parametrize("text", ["", "  ", '""', "/a\0b"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        translate(text, UBUNTU)


def test_the_parts_of_a_share() -> None:
    assert parse_unc(r"\\server\share\a\b") == Unc("server", "share", r"a\b")
    found = parse_unc(r"\\wsl$\Ubuntu")
    assert found is not None and found.is_wsl and found.share == "Ubuntu"
    assert parse_unc("/home") is None and parse_unc("//home/me") is None and parse_unc(r"\\server") is None


names = st.lists(st.text("abcXYZ 0._-é", min_size=1).map(str.strip).filter(bool), min_size=1, max_size=4)


@given(names)
def test_what_windows_calls_a_path_of_wsl_comes_back(parts: list[str]) -> None:
    for start in ("/home/", "/mnt/c/"):
        path = start + "/".join(parts)
        assert translate(windows_form(path, UBUNTU), UBUNTU) == path


@given(st.text(alphabet="\\/:.~cC$ wsl\0?é", max_size=30), st.sampled_from([LINUX, UBUNTU, NAMELESS, WINDOWS, BESIDE]))
def test_whatever_is_given_is_a_path_or_is_refused(text: str, machine: Machine) -> None:
    try:
        found = translate(text, machine)
    except InputError as error:
        assert error.hint and error.message.endswith(".")
    else:
        assert found and "\0" not in found


def test_only_wsl_has_another_form_for_windows() -> None:
    assert windows_form("/mnt/d/x", UBUNTU) == r"D:\x"
    assert windows_form("/home/x", UBUNTU) == r"\\wsl.localhost\Ubuntu\home\x"
    assert windows_form("/home/x", LINUX) == "/home/x" and windows_form("x", UBUNTU) == "x"
