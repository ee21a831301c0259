"""The folders in which a ComfyUI looks for models that is started with further arguments.

Source: the options of ComfyUI 0.33.0 (`main.py --help`). Relative paths start at its folder, in which it is started.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import chain

from comfyops.errors import UsageError
from comfyops.models.folders import folders_of
from comfyops.models.places import Place
from comfyops.models.storage import Storage


def storage_of(place: Place, extra: Sequence[str]) -> Storage:
    """The folders of models of a ComfyUI with these arguments.

    Raises UsageError for an option without its value; MissingFileError, NotJsonError and InputError for a file of extra
    paths that cannot be used.
    """
    said, root = _read(extra), place.root
    base = root / (said.base_directory or "")
    models = root / said.models_directory if said.models_directory else base / "models"
    output = root / said.output_directory if said.output_directory else base / "output"
    files = [root / file for file in chain.from_iterable(said.extra_model_paths_config)]
    given = place.given if models == root / "models" else ""
    return Storage(models, folders_of(root, files, models=models, output=output), given)


def _read(extra: Sequence[str]) -> argparse.Namespace:
    """What ComfyUI, which has an `argparse` too, reads out of its arguments: abbreviations count, and the last one."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    for option in ("--base-directory", "--models-directory", "--output-directory"):
        parser.add_argument(option, default="")
    parser.add_argument("--extra-model-paths-config", nargs="+", action="append", default=[])
    try:
        return parser.parse_known_args(list(extra))[0]
    except argparse.ArgumentError as error:
        raise UsageError(f"{error.argument_name}: {error.message}.") from error
