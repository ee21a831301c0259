"""The folders that models lie in: where one belongs, where it is, and what is remembered of it.

MODELS/.comfyops/stamps.json         what was hashed, and how the file looked then
MODELS/.comfyops/models.lock.json    what sources said of models (the format of `models.lock`)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from comfyops.errors import StorageError
from comfyops.models.entry import ModelEntry
from comfyops.models.folders import SUBFOLDERS, Folders
from comfyops.models.paths import parse_unc
from comfyops.models.places import Place, local_path
from comfyops.support.files import safe_path

MEMORY = ".comfyops"


@dataclass(frozen=True)
class Storage:
    """Folders of models. `root` is the models folder that new files go into and that remembers.

    `given` is the path by which a person named it, "" where nobody did.
    """

    root: Path
    folders: Folders
    given: str = ""

    @property
    def shown(self) -> str:
        """The path that a person knows: a UNC path as it was given."""
        return self.given if parse_unc(self.given) else str(self.root)

    @property
    def stamps(self) -> Path:
        """The file that remembers hashes."""
        return self.root / MEMORY / "stamps.json"

    @property
    def known(self) -> Path:
        """The file that remembers what sources said."""
        return self.root / MEMORY / "models.lock.json"

    def target(self, entry: ModelEntry) -> Path:
        """Where the model is to be put.

        Raises UnsafeNameError where that would be outside of its folder, through a link too.
        """
        paths = self.paths(entry.folder)
        first = paths[0]
        own = self.root / entry.folder
        return safe_path(first if not first.is_relative_to(self.root) else own, entry.file)

    def locate(self, entry: ModelEntry) -> Path | None:
        """The model where nodes find it, None where they find none.

        Raises StorageError where it is in no folder that can be looked into, and not all can.
        """
        problem: OSError | None = None
        for path in self.paths(entry.folder):
            try:
                if (path / entry.file).is_file():
                    return path / entry.file
            except OSError as error:  # a share that is away, a name that is too long
                problem = problem or error
        if problem is not None:
            why = (problem.strerror or type(problem).__name__).lower()
            raise StorageError(f"{entry.id} cannot be looked for: {why}.", path=str(problem.filename or ""))
        return None

    def elsewhere(self, entry: ModelEntry) -> Path | None:
        """A file of the model's name in another folder, where the nodes that load it do not look."""
        for folder, paths in self.folders.paths.items():
            for path in paths if folder != entry.folder else ():
                with suppress(OSError):
                    if (path / entry.file).is_file():
                        return path / entry.file
        return None

    def paths(self, folder: str) -> tuple[Path, ...]:
        """Where a folder's models are looked for, in order; its own place also where nobody knows the folder yet."""
        return self.folders.paths.get(folder) or (self.root / folder,)

    def roots(self) -> Iterator[Path]:
        """Every folder that is there, each once."""
        seen: set[Path] = set()
        for paths in self.folders.paths.values():
            for path in paths:
                if path not in seen and path.is_dir():
                    seen.add(path)
                    yield path


def of_comfyui(place: Place) -> Storage:
    """The folders of a ComfyUI installation.

    Raises MissingFileError, NotJsonError, InputError for its `extra_model_paths.yaml`.
    """
    return Storage(place.root / "models", place.folders(), place.given)


def of_folder(folder: str | Path) -> Storage:
    """A folder of models with ComfyUI's folders in it, and nothing around it. Nothing is made by this.

    Raises InputError for a path that this machine cannot reach.
    """
    root = local_path(folder)
    folders = {name: tuple(root / below for below in known) for name, known in SUBFOLDERS.items()}
    return Storage(root, Folders(folders), str(folder))
