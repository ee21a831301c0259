"""The document on disk, and the files of its targets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from comfyops.auth.secrets import model, plan, private_files
from comfyops.auth.secrets.model import Actual, Document, Target
from comfyops.auth.secrets.plan import Plan, TargetPlan
from comfyops.errors import SecretsError, StorageError


@dataclass(frozen=True, slots=True)
class Store:
    """The document `file`; relative targets start at `root`: the folder around `.secrets`, else the file's own."""

    file: Path

    @property
    def folder(self) -> Path:
        """The folder of the document."""
        return self.file.absolute().parent

    @property
    def root(self) -> Path:
        """Where relative paths of targets start."""
        return self.folder.parent if self._is_ours else self.folder

    def path(self, target: Target | str) -> Path:
        """Where a target lies. Raises SecretsError for one in the home folder of nobody."""
        named = Path(target if isinstance(target, str) else target.path)
        try:
            return self.root / named.expanduser()
        except RuntimeError:
            raise SecretsError(f"{named} lies in the home folder of a user that is unknown here.") from None

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
        self.make_folder()
        ignore = self.folder / ".gitignore"
        if self._is_ours and not ignore.exists():
            private_files.write(ignore, b"*\n")  # git takes nothing of this folder
        private_files.write(self.file, data)

    def plan(self, document: Document, now: datetime) -> Plan:
        """What would have to change now; a target that cannot be read has a problem. Raises SecretsError."""
        self._check_places(document)
        actual = {target.path: _seen(self.path(target)) for target in document.targets}
        return plan.make(document, actual, now)

    @contextmanager
    def staged(self, made: Plan) -> Iterator[Callable[[], tuple[TargetPlan, ...]]]:
        """Write beside its targets what a plan says; what it gives puts that in place and says which were written.

        Each file is put whole or not at all. Done twice it changes nothing. Raises SecretsError where a target cannot
        be, or was changed since the plan was made, and StorageError where one cannot be written: nothing has changed
        then.
        """
        todo = [item for item in made.targets if item.changes]
        for item in made.targets:
            if item.problem:
                raise SecretsError(f"{item.target.path} cannot be brought in step: {item.problem}")
            if private_files.look(self.path(item.target)).data != item.actual.data:
                raise SecretsError(f"{item.target.path} was changed meanwhile.", hint="Run the command again.")
            private_files.sweep(self.path(item.target))
        with private_files.staged((self.path(x.target), x.content or b"", x.target.mode) for x in todo) as put:

            def done() -> tuple[TargetPlan, ...]:
                put()
                return tuple(todo)

            yield done

    def too_open(self) -> tuple[Path, ...]:
        """The document and its folder `.secrets`, where others than the owner may read or enter them."""
        places = (self.folder, self.file) if self._is_ours else (self.file,)
        return tuple(path for path in places if private_files.is_open(path))

    def sweep(self) -> None:
        """Remove what a killed process has left beside the document. Only for who holds the lock."""
        for path in (self.file, self.folder / ".gitignore"):
            private_files.sweep(path)

    def make_folder(self) -> None:
        """See that there is the folder; `.secrets` is closed to others, any other is left as it is.

        Raises StorageError.
        """
        private_files.make_folder(self.folder, ours=self._is_ours)

    @property
    def _is_ours(self) -> bool:
        return self.folder.name == ".secrets"

    def _check_places(self, document: Document) -> None:
        seen = {os.path.realpath(self.file): "the document itself"}
        for target in document.targets:
            place = os.path.realpath(self.path(target))
            if place in seen:
                raise SecretsError(f"The target {target.path} is the same file as {seen[place]}.")
            seen[place] = target.path


def _seen(path: Path) -> Actual:
    try:
        return private_files.look(path)
    except StorageError as error:
        return Actual(problem=error.message)
