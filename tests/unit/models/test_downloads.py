"""`Downloads` with a simulated hub: steered while they run, written down, gone on with after their process is gone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from comfyops.errors import DiskFullError, StorageError, UnknownModelError
from comfyops.models.check import State
from comfyops.models.downloads import Download, Downloads, asks, records
from comfyops.models.downloads.asks import Ask
from comfyops.models.plan import Item
from comfyops.models.provision import Outcome
from comfyops.testing.model_hub import Faults, ModelHub
from tests.unit.models.shelf import entry, provision, weights

NAMES = ("a", "b", "c")
DATA = {name: weights(1_500_000, seed=number) for number, name in enumerate(NAMES)}
SLOW = Faults(throttle=300_000)


@pytest.fixture
def hub() -> Iterator[ModelHub]:
    with ModelHub({f"org/repo/{name}.safetensors": data for name, data in DATA.items()}, SLOW) as served:
        yield served


def items(root: Path, *names: str) -> list[Item]:
    """What a plan would have of these models."""
    found = []
    for name in names or NAMES:
        model = entry(f"{name}.safetensors", DATA[name])
        found.append(Item(model, str(root / model.folder / model.file), State.MISSING))
    return found


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def states(downloads: Downloads) -> dict[str, str]:
    """The status of each file by its short name."""
    return {Path(item.model).stem: item.progress.status for item in downloads.snapshot()}


def one(downloads: Downloads, name: str) -> Download:
    """A file."""
    return next(item for item in downloads.snapshot() if Path(item.model).stem == name)


def begun(downloads: Downloads, name: str) -> bool:
    """Whether bytes of a file have come."""
    return one(downloads, name).progress.downloaded_bytes > 0


def key(name: str) -> str:
    """The id of a model."""
    return f"loras/{name}.safetensors"


def test_files_are_fetched_and_told(tmp_path: Path, hub: ModelHub) -> None:
    hub.faults = Faults()
    downloads = Downloads(provision(tmp_path / "models", hub))
    with downloads.subscribe() as events:
        downloads.start(items(tmp_path / "models"))
        assert downloads.wait(20)
        last = {item.model: item for item in events.next(1)}
    assert states(downloads) == dict.fromkeys(NAMES, "completed")
    assert last == {item.model: item for item in downloads.snapshot()}
    assert all(outcome.ok for outcome in downloads.outcomes())
    told = one(downloads, "a").documented()
    assert told.keys() >= {
        *("modelName", "totalBytes", "downloadedBytes", "speedMbps", "etaSeconds", "status", "errorMessage"),
        *("percent", "target", "priority"),
    }
    assert (told["percent"], told["etaSeconds"], told["totalBytes"]) == (100.0, 0.0, len(DATA["a"]))
    downloads.close()


def test_one_file_is_paused_while_the_others_go_on_and_then_resumed(tmp_path: Path, hub: ModelHub) -> None:
    downloads = Downloads(provision(tmp_path / "models", hub))
    downloads.start(items(tmp_path / "models"))
    until(lambda: begun(downloads, "a"))
    downloads.pause(key("a"))
    until(lambda: states(downloads)["a"] == "paused")
    hub.faults = Faults()
    until(lambda: states(downloads) == {"a": "paused", "b": "completed", "c": "completed"})
    assert not downloads.wait(0.0) and not Path(one(downloads, "a").target).exists()
    downloads.resume(key("a"))
    assert downloads.wait(20) and Path(one(downloads, "a").target).read_bytes() == DATA["a"]
    outcome = next(item for item in downloads.outcomes() if item.entry.id == key("a"))
    assert outcome.ok and 0 < outcome.downloaded_bytes < len(DATA["a"]) * 1.5
    downloads.close()


def test_all_are_paused_and_resumed(tmp_path: Path, hub: ModelHub) -> None:
    downloads = Downloads(provision(tmp_path / "models", hub))
    downloads.start(items(tmp_path / "models"))
    downloads.pause()
    until(lambda: set(states(downloads).values()) == {"paused"})
    hub.faults = Faults()
    downloads.resume()
    assert downloads.wait(20) and set(states(downloads).values()) == {"completed"}
    downloads.close()


def test_a_cancelled_file_can_be_tried_again_and_keeps_its_bytes(tmp_path: Path, hub: ModelHub) -> None:
    downloads = Downloads(provision(tmp_path / "models", hub))
    downloads.start(items(tmp_path / "models", "a", "b"))
    until(lambda: begun(downloads, "a"))
    downloads.cancel(key("a"))
    until(lambda: states(downloads)["a"] == "failed")
    assert "cancelled" in str(one(downloads, "a").progress.error_message)
    hub.faults = Faults()
    downloads.retry(key("a"))
    assert downloads.wait(20) and states(downloads) == {"a": "completed", "b": "completed"}
    downloads.close()


def test_a_file_is_not_begun_twice_and_priorities_can_be_changed(tmp_path: Path, hub: ModelHub) -> None:
    made = provision(tmp_path / "models", hub)
    downloads = Downloads(made)
    downloads.start(items(tmp_path / "models"), {key("c"): 5})
    downloads.start(items(tmp_path / "models", "a"))
    assert len(downloads.snapshot()) == 3 and one(downloads, "c").priority == 5
    downloads.set_priority(key("b"), 9)
    assert one(downloads, "b").priority == 9
    with pytest.raises(UnknownModelError):
        downloads.pause("loras/none.safetensors")
    hub.faults = Faults()
    assert downloads.wait(20)
    downloads.close()


def test_a_plan_that_fails_as_a_whole_says_so(tmp_path: Path, hub: ModelHub) -> None:
    (tmp_path / "file").write_text("")
    downloads = Downloads(provision(tmp_path / "file", hub))
    downloads.start(items(tmp_path / "file", "a"))
    with pytest.raises(StorageError):
        downloads.wait(20)
    assert states(downloads) == {"a": "failed"}
    downloads.close()


def test_what_is_closed_is_written_down_and_gone_on_with(tmp_path: Path, hub: ModelHub) -> None:
    home, models = tmp_path / "home", tmp_path / "models"
    downloads = Downloads(provision(models, hub), home, {"models_dir": str(models)})
    downloads.start(items(models), {key("b"): 3})
    until(lambda: begun(downloads, "a") and begun(downloads, "b"))
    (record,) = records.all_of(home)
    assert record.alive and records.left(home) == ()
    downloads.close()
    assert set(states(downloads).values()) == {"paused"}
    (record,) = records.left(home)
    assert record.place == {"models_dir": str(models)}
    assert {(Path(file.item.target).stem, file.priority) for file in record.files} == {("a", 0), ("b", 3), ("c", 0)}
    hub.faults = Faults()
    again = Downloads(provision(models, hub), home)
    again.start([file.item for file in record.files])
    assert again.wait(20) and set(states(again).values()) == {"completed"}
    again.close()
    assert records.all_of(home) == () and list((home / "downloads").iterdir()) == []


def test_other_processes_steer_it_by_files(tmp_path: Path, hub: ModelHub) -> None:
    home, models = tmp_path / "home", tmp_path / "models"
    downloads = Downloads(provision(models, hub), home)
    downloads.start(items(models))
    (record,) = records.all_of(home)
    assert asks.send(record, Ask("pause"), 10)
    until(lambda: set(states(downloads).values()) == {"paused"})
    assert asks.send(record, Ask("priority", key("c"), 7), 10) and one(downloads, "c").priority == 7
    assert asks.send(record, Ask("cancel", key("b")), 10)
    until(lambda: states(downloads)["b"] == "failed")
    (record.asks / "0-nonsense.json").write_text('{"verb": "explode"}')
    (record.asks / "0-broken.json").write_text("{")
    hub.faults = Faults()
    assert asks.send(record, Ask("resume", "loras/unknown.safetensors"), 10)
    assert asks.send(record, Ask("resume"), 10)
    assert downloads.wait(20) and states(downloads) == {"a": "completed", "b": "failed", "c": "completed"}
    downloads.close()
    assert records.all_of(home) == (), "what failed or was cancelled is not offered again"
    assert not asks.send(record, Ask("pause"), 0.1), "nobody is there any more"


KILLED = """
import sys, time
from pathlib import Path
from comfyops.models.downloads import Downloads
from comfyops.testing.model_hub import ModelHub
from tests.unit.models.shelf import provision
from tests.unit.models.test_downloads import DATA, SLOW, begun, items, until
root = Path(sys.argv[1])
with ModelHub({f"org/repo/{name}.safetensors": data for name, data in DATA.items()}, SLOW) as hub:
    downloads = Downloads(provision(root / "models", hub), root / "home", {"models_dir": str(root / "models")})
    downloads.start(items(root / "models"))
    until(lambda: begun(downloads, "a"))
    print("begun", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_offered(tmp_path: Path, hub: ModelHub) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        assert records.left(tmp_path / "home") == ()
        process.kill()
    (record,) = records.left(tmp_path / "home")
    assert record.process == process.pid and len(record.files) == 3
    hub.faults = Faults()
    downloads = Downloads(provision(tmp_path / "models", hub), tmp_path / "home")
    downloads.start([file.item for file in record.files if Path(file.item.target).stem != "c"])
    assert downloads.wait(20)
    downloads.close()
    (record,) = records.left(tmp_path / "home")
    assert [Path(file.item.target).stem for file in record.files] == ["c"]
    records.drop(tmp_path / "home", [record.files[0].item.target])
    assert records.all_of(tmp_path / "home") == ()


def test_nothing_is_left_of_a_process_that_was_killed_while_another_waited_for_its_files(
    tmp_path: Path, hub: ModelHub
) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        waiting = Downloads(provision(tmp_path / "models", hub), tmp_path / "home")
        waiting.start(items(tmp_path / "models"))
        process.kill()
    hub.faults = Faults()
    assert waiting.wait(20) and set(states(waiting).values()) == {"completed"}
    waiting.close()
    assert records.all_of(tmp_path / "home") == ()


def test_a_damaged_record_is_no_record(tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    for number, text in enumerate(
        ("", "[]", "{", '{"schema": "downloads/1", "process": 1, "place": {}, "files": [5]}')
    ):
        (folder / f"{number}.json").write_text(text)
    assert records.all_of(tmp_path) == ()


class FullThenRoomy:
    """Brings files to a disk that is full the first time."""

    def __init__(self) -> None:
        self.calls = 0

    def fetch(self, items: list[Item], on_progress: object = None, on_ready: object = None) -> tuple[Outcome, ...]:
        """Fail the first time."""
        self.calls += 1
        error = DiskFullError("No space is left on the disk.")
        return tuple(
            Outcome(
                item.entry, self.calls > 1, item.target, code="" if self.calls > 1 else error.code, message=str(error)
            )
            for item in items
        )


def test_a_full_disk_pauses_a_file_until_there_is_room(tmp_path: Path) -> None:
    fetches = FullThenRoomy()
    downloads = Downloads(fetches)
    with downloads.subscribe() as events:
        downloads.start(items(tmp_path, "a"))
        seen: list[Download] = []
        until(lambda: seen.extend(events.next(1)) or any(item.progress.status == "completed" for item in seen))
    paused = [item for item in seen if item.progress.status == "paused"]
    assert paused and "No space" in str(paused[0].progress.error_message) and fetches.calls == 2
    downloads.close()
