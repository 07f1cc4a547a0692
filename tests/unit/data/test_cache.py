"""Prepared data: made once, whole or not at all, and read where they lie."""

import errno
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from topotune.data.cache import cache_folder, open_array, prepared, read_meta, save_array
from topotune.errors import DiskFull, InputError

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 1, 3, 4)
LABELS = np.array([1, 0])


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("TOPOTUNE_CACHE", str(folder))
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_text("content")
    return path


class Preparation:
    """Writes two small arrays; every call leaves a line in ``log``, however many processes there are."""

    def __init__(self, log: Path, seconds: float = 0.0, die: bool = False) -> None:
        self.log, self.seconds, self.die = log, seconds, die

    def __call__(self, out: Path) -> dict[str, Any]:
        with self.log.open("a") as file:
            file.write("made\n")
        save_array(out, "images", IMAGES)
        save_array(out, "labels", LABELS)
        time.sleep(self.seconds)
        if self.die:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"notes": {"mended": 3}}

    @property
    def calls(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


def _eight_at_once(source: Path, prepare: Preparation) -> None:
    with ThreadPoolExecutor(8) as threads:
        folders = [threads.submit(prepared, "x-train", [source], prepare) for _ in range(8)]
    (folder,) = {one.result() for one in folders}
    assert torch.equal(open_array(folder, "images"), torch.from_numpy(IMAGES))


def test_arrays_and_what_was_said_of_them_come_back(source: Path, tmp_path: Path, home: Path) -> None:
    folder = prepared("x-train", [source], Preparation(tmp_path / "log"))
    assert folder.parent == home == cache_folder()
    assert folder.name.startswith("x-train-")
    assert {path.name for path in folder.iterdir()} == {"images.npy", "labels.npy", "meta.json"}
    assert open_array(folder, "labels").tolist() == [1, 0]
    meta = read_meta(folder)
    assert meta["notes"] == {"mended": 3}
    assert len(meta["checksum"]) == 32


def test_the_checksum_is_of_the_arrays_alone(tmp_path: Path) -> None:
    checksums = set()
    for name in ("one", "other"):
        (tmp_path / name).write_text(name)
        checksums.add(read_meta(prepared(name, [tmp_path / name], Preparation(tmp_path / "log")))["checksum"])
    assert len(checksums) == 1


def test_many_threads_and_processes_make_it_once(source: Path, tmp_path: Path, home: Path) -> None:
    prepare = Preparation(tmp_path / "log", seconds=0.5)
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_eight_at_once, args=(source, prepare)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(120)
    assert [one.exitcode for one in both] == [0, 0]
    assert prepare.calls == 1
    assert [path.name for path in home.iterdir() if not path.name.startswith(".")] != []
    assert not list(home.glob(".*.lock"))


def test_what_was_killed_half_way_is_made_anew(source: Path, tmp_path: Path, home: Path) -> None:
    prepare = Preparation(tmp_path / "log", die=True)
    killed = multiprocessing.get_context("spawn").Process(target=prepared, args=("x-train", [source], prepare))
    killed.start()
    killed.join(120)
    assert killed.exitcode == -signal.SIGKILL
    assert [path for path in home.iterdir() if not path.name.startswith(".")] == []  # nothing that has its name
    prepare.die = False
    folder = prepared("x-train", [source], prepare)
    assert prepare.calls == 2
    assert torch.equal(open_array(folder, "images"), torch.from_numpy(IMAGES))


def test_a_folder_without_its_last_file_is_made_anew(source: Path, tmp_path: Path) -> None:
    prepare = Preparation(tmp_path / "log")
    folder = prepared("x-train", [source], prepare)
    (folder / "meta.json").unlink()
    (folder / "images.npy").write_bytes(b"")
    assert prepared("x-train", [source], prepare) == folder
    assert prepare.calls == 2
    assert len(open_array(folder, "images")) == 2


def test_a_preparation_that_fails_leaves_nothing(source: Path, tmp_path: Path, home: Path) -> None:
    def fails(out: Path) -> dict[str, Any]:
        save_array(out, "images", IMAGES)
        raise InputError("the source is damaged")

    with pytest.raises(InputError, match=r"^the source is damaged$"):
        prepared("x-train", [source], fails)
    assert [path for path in home.iterdir() if path.is_dir()] == []
    prepared("x-train", [source], Preparation(tmp_path / "log"))  # the lock is free


@pytest.mark.parametrize("name", ["images", "labels"])
@pytest.mark.parametrize("keep", [0, 5, 100, 130])
def test_a_truncated_array_is_named(source: Path, tmp_path: Path, name: str, keep: int) -> None:
    folder = prepared("x-train", [source], Preparation(tmp_path / "log"))
    os.truncate(folder / f"{name}.npy", keep)
    with pytest.raises(InputError, match=r"are damaged .*; delete that folder") as error:
        open_array(folder, name)
    assert str(folder) in str(error.value)


def test_a_missing_array_is_named(source: Path, tmp_path: Path) -> None:
    folder = prepared("x-train", [source], Preparation(tmp_path / "log"))
    (folder / "labels.npy").unlink()
    with pytest.raises(InputError, match=f"{folder} are damaged"):
        open_array(folder, "labels")


def test_a_cache_that_cannot_be_written(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPOTUNE_CACHE", str(source / "within-a-file"))
    with pytest.raises(InputError, match=r"cannot be kept in .*; TOPOTUNE_CACHE names another one") as error:
        prepared("x-train", [source], Preparation(tmp_path / "log"))
    assert str(source / "within-a-file") in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_may_not_be_written(source: Path, tmp_path: Path, home: Path) -> None:
    home.mkdir(mode=0o500)
    with pytest.raises(InputError, match="cannot be kept in"):
        prepared("x-train", [source], Preparation(tmp_path / "log"))


def test_a_changed_source_is_prepared_anew(source: Path, tmp_path: Path) -> None:
    prepare, seen = Preparation(tmp_path / "log"), set()

    def prepared_now(calls: int) -> None:
        seen.add(prepared("x-train", [source], prepare))
        assert (prepare.calls, len(seen)) == (calls, calls)

    prepared_now(1)
    prepared_now(1)
    stat = source.stat()
    source.write_text("longer content")
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    prepared_now(2)  # another size
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    prepared_now(3)  # another date
    seen.add(prepared("x-test", [source], prepare))
    assert (prepare.calls, len(seen)) == (4, 4)  # another part


def test_a_source_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is missing; --download"):
        prepared("x-train", [tmp_path / "nowhere"], Preparation(tmp_path / "log"))


def test_tensors_lie_over_the_file(source: Path, tmp_path: Path) -> None:
    folder = prepared("x-train", [source], Preparation(tmp_path / "log"))
    path, images = folder / "images.npy", open_array(folder, "images")
    assert str(path) in Path("/proc/self/maps").read_text()
    before = path.read_bytes()
    images[0] = 99
    assert path.read_bytes() == before
    assert torch.equal(open_array(folder, "images"), torch.from_numpy(IMAGES))


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Path) -> None:
    assert cache_folder() == home
    monkeypatch.delenv("TOPOTUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "topotune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "topotune"


def test_who_waits_for_a_lock_that_goes_takes_a_new_one(source: Path, tmp_path: Path, home: Path) -> None:
    """The first fails while two others wait; one of them prepares, the other finds the work done."""
    log, waiting = tmp_path / "log", []

    def fails(_out: Path) -> dict[str, Any]:
        for _ in range(2):
            thread = threading.Thread(target=lambda: waiting.append(prepared("x-train", [source], Preparation(log))))
            thread.start()
            threads.append(thread)
        time.sleep(0.5)
        raise InputError("no")

    threads: list[threading.Thread] = []
    with pytest.raises(InputError, match=r"^no$"):
        prepared("x-train", [source], fails)
    for thread in threads:
        thread.join(60)
    assert len(waiting) == 2
    assert waiting[0] == waiting[1]
    assert not list(home.glob(".*"))


def test_a_full_disk_is_no_wrong_input(source: Path) -> None:
    def fails(_out: Path) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DiskFull, match=r"cannot be kept in .* \(No space left on device\)"):
        prepared("x-train", [source], fails)
