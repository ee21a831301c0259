"""The document on disk, and the files of its targets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from comfyops.auth.secrets import model, plan, private_files
from comfyops.auth.secrets.model import Document, Target
from comfyops.auth.secrets.plan import Plan, TargetPlan
from comfyops.errors import SecretsError


@dataclass(frozen=True, slots=True)
class Store:
    """The document `file`; relative targets start at `root`, the folder around `.secrets`."""

    file: Path

    @property
    def folder(self) -> Path:
        """The folder of the document, which only its owner may enter."""
        return self.file.absolute().parent

    @property
    def root(self) -> Path:
        """Where relative paths of targets start."""
        return self.folder.parent if self.folder.name == ".secrets" else self.folder

    def path(self, target: Target | str) -> Path:
        """Where a target lies."""
        return self.root / Path(target if isinstance(target, str) else target.path).expanduser()

    def exists(self) -> bool:
        """Whether there is a document. Raises StorageError where that cannot be seen."""
        return private_files.look(self.file).data is not None

    def load(self) -> Document:
        """The document. Raises SecretsError and StorageError."""
        data = private_files.look(self.file).data
        if data is None:
            hint = "Make one with `comfyops secrets import`, or `comfyops secrets sync --unify`."
            raise SecretsError(f"There is no document of secrets at {self.file}.", hint=hint)
        return model.loads(data)

    def save(self, document: Document) -> None:
        """Write the document, for its owner alone. Raises StorageError."""
        data = model.dumps(document)
        model.loads(data)  # what could not be read back is not written
        private_files.make_folder(self.folder)
        ignore = self.folder / ".gitignore"
        if self.folder.name == ".secrets" and not ignore.exists():
            private_files.write(ignore, b"*\n")  # git takes nothing of this folder
        private_files.write(self.file, data)

    def plan(self, document: Document, now: datetime) -> Plan:
        """What would have to change now. Raises SecretsError and StorageError."""
        self._check_places(document)
        actual = {target.path: private_files.look(self.path(target)) for target in document.targets}
        return plan.make(document, actual, now)

    def apply(self, made: Plan) -> tuple[TargetPlan, ...]:
        """Do what a plan says, file by file, each whole or not at all; returns the targets that were written.

        Done twice it changes nothing. Raises SecretsError before anything is written where a target cannot be, or was
        changed since the plan was made; StorageError.
        """
        todo = [item for item in made.targets if item.changes]
        for item in made.targets:
            if item.problem:
                raise SecretsError(f"{item.target.path} cannot be brought in step: {item.problem}")
            if private_files.look(self.path(item.target)).data != item.actual.data:
                raise SecretsError(f"{item.target.path} was changed meanwhile.", hint="Run the command again.")
        for item in todo:
            assert item.content is not None
            private_files.write(self.path(item.target), item.content, item.target.mode)
        return tuple(todo)

    def too_open(self) -> tuple[Path, ...]:
        """The document and its folder, where others than the owner may read or enter them."""
        return tuple(path for path in (self.folder, self.file) if private_files.is_open(path))

    def _check_places(self, document: Document) -> None:
        seen = {os.path.realpath(self.file): "the document itself"}
        for target in document.targets:
            place = os.path.realpath(self.path(target))
            if place in seen:
                raise SecretsError(f"The target {target.path} is the same file as {seen[place]}.")
            seen[place] = target.path
