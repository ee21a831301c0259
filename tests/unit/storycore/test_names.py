from __future__ import annotations

import subprocess
import sys

import pytest

from comfyops import storycore


@pytest.mark.parametrize("name", storycore.__all__)
def test_every_name_is_there(name):
    assert getattr(storycore, name).__name__ == name


def test_a_name_that_is_not_there_is_told():
    with pytest.raises(AttributeError, match="WanVideo"):
        _ = storycore.WanVideo


def test_importing_the_package_loads_no_part_of_it():
    code = "import sys, comfyops.storycore; print([name for name in sys.modules if name.startswith('comfyops.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['comfyops.storycore']\n"
