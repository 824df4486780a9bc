"""What a store promises when processes die, disks fail and bits flip."""

from __future__ import annotations

import errno
import gc
import os
import random
import resource
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polymath.store import CorruptObject, Draft, Store, StoreError, SyncFailed, disk, locks, rebuild, verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "knowledge"


def fill(path: Path, *, count: int = 12) -> None:
    """A small store with layers, experiments, tasks, heads and a tombstone."""
    with Store.open(path) as store:
        for n in range(count):
            layer = store.put_tensors({"w": np.full((8, 8), n, np.float32)})
            fence = store.claim(f"trial{n}", "me")
            assert store.finish(f"trial{n}", fence, {"n": n, "problem": "p"}, refs=[layer])
            if n % 3 == 0:
                store.set_head(f"task/{n % 2}", store.add_record("task", {"n": n}, refs=[layer]))
        store.tombstone(store.add_record("task", {"gone": True}))


def contents(store: Store) -> dict[str, object]:
    """All that a reader can see."""
    return {
        "heads": store.heads(),
        **{kind: list(store.records(kind)) for kind in ("task", "experiment", "head", "tombstone", "late")},
    }


def in_child(work: Callable[[int], None]) -> tuple[int, int]:
    """Run `work` in a fork of this process; its process number and a pipe to read what it reports."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(reading)
            work(writing)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    return process, reading


def everything(descriptor: int) -> str:
    with open(descriptor) as file:
        return file.read()


# Death


def write_until_killed(path: Path, seed: int) -> Callable[[int], None]:
    def work(report: int) -> None:
        store = Store.open(path)
        for n in range(10**9):
            trial = f"{seed}-{n}"
            layer = store.put_tensors({"w": np.random.default_rng([seed, n]).random(2000)})
            address = store.finish(trial, store.claim(trial, "me"), {"trial": trial, "layer": layer}, refs=[layer])
            os.write(report, f"{trial} {address} {layer}\n".encode())

    return work


def storm(path: Path, *, kills: int, seed: int) -> dict[str, tuple[str, str]]:
    """Kill pairs of writers at random moments; what they had reported as finished."""
    chance = random.Random(seed)
    reported: dict[str, tuple[str, str]] = {}
    for round_ in range(kills // 2):
        children = [in_child(write_until_killed(path, seed * 10**6 + round_ * 2 + which)) for which in range(2)]
        reports = ["", os.read(children[1][1], chance.randrange(1, 1000)).decode()]  # until one has finished something
        time.sleep(chance.uniform(0, 0.05))
        for process, _ in children:
            os.kill(process, signal.SIGKILL)
        for (process, pipe), report in zip(children, reports, strict=True):
            os.waitpid(process, 0)
            for line in (report + everything(pipe)).splitlines():
                trial, address, layer = line.split()
                reported[trial] = (address, layer)
        with Store.open(path) as store:
            assert verify(store).exit_status == 0
            found = {body["trial"]: (address, body["layer"]) for address, body in store.records("experiment")}
            assert reported.items() <= found.items(), "a finished experiment is gone"
    with Store.open(path) as store:
        report = verify(store, level="full")
        assert report.exit_status == 0 and report.complete, report.findings
        for address, layer in reported.values():
            assert store.record(address)["layer"] == layer and len(store.get_tensors(layer)["w"]) == 2000
        before = contents(store)
        rebuild(store)
        assert contents(store) == before
    assert not list((path / "tmp").iterdir())
    return reported


def test_nothing_finished_is_lost_by_killing(path):
    assert len(storm(path, kills=20, seed=1)) >= 10


@pytest.mark.slow
def test_nothing_finished_is_lost_by_killing_often(path):
    assert len(storm(path, kills=200, seed=2)) >= 100


def test_a_record_without_a_row_is_adopted(path):
    fill(path)
    with Store.open(path) as store:
        before = contents(store)
        layer = store.put(b"layer of a process that died")

    def die_before_the_row(report: int) -> None:
        store = Store.open(path)
        store.catalogue.transaction = lambda: os.kill(os.getpid(), signal.SIGKILL)
        store.add_record("task", {"n": "adopted"}, refs=[layer])

    process, pipe = in_child(die_before_the_row)
    os.waitpid(process, 0)
    os.close(pipe)
    with Store.open(path) as store:
        assert [body["n"] for _, body in store.records("task")][-1] == "adopted"
        assert list(store.records("task"))[:-1] == before["task"]
        assert verify(store, level="full").exit_status == 0


def test_opening_looks_only_into_what_has_changed(path, monkeypatch):
    looked: list[str] = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda place: looked.append(str(place)) or listdir(place))
    fill(path, count=40)
    looked.clear()
    Store.open(path).close()
    assert len(looked) > 20, "what has just changed may change again at the same time of the clock"
    monkeypatch.setattr("polymath.store.objects.SETTLED_NANOSECONDS", 0)
    for _ in range(2):
        looked.clear()
        with Store.open(path) as store:
            before = contents(store)
    assert not [place for place in looked if str(path / "records") in place]
    with Store.open(path) as store:
        lost = store.add_record("task", {"no row": True})
    with sqlite3.connect(path / "catalog.db") as connection:
        connection.execute("DELETE FROM record WHERE address=?", [lost])
    connection.close()
    looked.clear()
    with Store.open(path) as store:
        assert store.record(lost) == {"no row": True} and contents(store) != before
        before = contents(store)
    Store.open(path).close()
    for kind in ("experiment", "task"):  # rows that were there when the note was made
        with sqlite3.connect(path / "catalog.db") as connection:
            connection.execute("DELETE FROM record WHERE kind=?", [kind])
        connection.close()
        with Store.open(path) as store:
            assert contents(store) == before


def test_a_record_waits_for_the_disk_once(path, monkeypatch):
    with Store.open(path) as store:
        store.add_record("task", {"n": 0})
        calls = fail_on(monkeypatch, "fsync", nth=0, number=0)
        for n in range(1, 20):
            store.add_record("task", {"n": n})
        assert calls[0] == 19


def test_what_a_power_cut_undoes_is_done_again(path):
    """The row and the renaming of a record are not waited for: here they are taken back, as a power cut might."""
    fill(path)
    with Store.open(path) as store:
        kept = store.add_record("task", {"n": "whole"})
        torn = store.add_record("task", {"n": "torn"})
        before = contents(store)
    for suffix in ("", "-wal", "-shm"):
        (path / f"catalog.db{suffix}").unlink(missing_ok=True)
    for number, address in enumerate((kept, torn)):
        store.record_files.path(address).rename(path / "tmp" / f"0123456789ab.{os.getpid()}.{number}.record")
    cut = path / "tmp" / f"0123456789ab.{os.getpid()}.1.record"
    cut.chmod(0o600)
    cut.write_bytes(cut.read_bytes()[:-1])
    with Store.open(path) as store:
        assert contents(store) == before | {"task": before["task"][:-1]}
        assert verify(store, level="full").exit_status == 0
    assert not list((path / "tmp").iterdir())


def test_a_scratch_store_waits_for_no_disk_and_drops_what_a_power_cut_left(path, monkeypatch):
    calls = fail_on(monkeypatch, "fsync", nth=0, number=0)
    with Store.open(path, scratch=True) as store:
        made = calls[0]
        addresses = [store.put(bytes([n])) for n in range(20)]
        assert calls[0] == made
    empty = store.objects.path(addresses[7])
    empty.chmod(0o600)
    empty.write_bytes(b"")
    Store.open(path, scratch=True).close()
    assert store.has(addresses[7])  # the machine still runs: nothing is looked at
    monkeypatch.setattr(disk, "boot_identity", lambda: "0123456789ab")
    with Store.open(path, scratch=True) as store:
        assert [store.has(address) for address in addresses] == [n != 7 for n in range(20)]
        store.put(bytes([7]))
        assert store.get(addresses[7]) == bytes([7])


def opened_between_file_and_row(store: Store, monkeypatch: pytest.MonkeyPatch, then: Callable[[], object]) -> None:
    """Let another process open the store (and adopt the record) after its file is written and before its row is."""
    put_all = store.record_files.put_all

    def meddle(objects: dict[str, list[bytes]]) -> None:
        put_all(objects)
        monkeypatch.undo()
        Store.open(store.path).close()
        then()

    monkeypatch.setattr(store.record_files, "put_all", meddle)


def test_a_finish_that_another_process_adopts_meanwhile_counts(path, monkeypatch):
    with Store.open(path) as store:
        fence = store.claim("trial", "me")
        opened_between_file_and_row(store, monkeypatch, lambda: None)
        address = store.finish("trial", fence, {"n": 1})
        assert [found for found, _ in store.records("experiment")] == [address] and not list(store.records("late"))
        assert store.claim("other", "me") == fence + 1


def test_a_late_finish_that_another_process_adopts_meanwhile_does_not_count(path, monkeypatch):
    with Store.open(path) as store, Store.open(path) as other:
        fence = store.claim("trial", "me")
        opened_between_file_and_row(store, monkeypatch, lambda: other.claim("trial", "you", takeover=True))
        assert store.finish("trial", fence, {"n": 1}) is None
        assert not list(store.records("experiment")) and len(list(store.records("late"))) == 1
        assert verify(store, level="full").exit_status == 0


def test_temporary_files_of_the_dead_are_removed_and_of_the_living_kept(path):
    Store.open(path).close()
    process, pipe = in_child(lambda report: disk.create(disk.temporary(path / "tmp")))
    os.waitpid(process, 0)
    os.close(pipe)
    mine, foreign = disk.temporary(path / "tmp"), path / "tmp" / "notes.txt"
    other_boot = path / "tmp" / f"0123456789ab.{os.getpid()}.00"
    for file in (mine, foreign, other_boot):
        file.write_text("x")
    assert len(list((path / "tmp").iterdir())) == 4
    Store.open(path).close()
    assert {file.name for file in (path / "tmp").iterdir()} == {mine.name, foreign.name}


# Failing calls


def one_of_everything(store: Store) -> None:
    layer = store.put_tensors({"w": np.arange(5000.0)})
    address = store.add_record("task", {"n": 1}, refs=[layer])
    store.set_head("task/new", address)
    store.finish("new", store.claim("new", "me"), {"n": 2}, refs=[layer])


def fail_on(monkeypatch: pytest.MonkeyPatch, name: str, *, nth: int, number: int) -> list[int]:
    calls = [0]
    right = getattr(disk, name)

    def wrong(*args: object) -> object:
        calls[0] += 1
        if calls[0] == nth:
            raise OSError(number, os.strerror(number))
        return right(*args)

    monkeypatch.setattr(disk, name, wrong)
    return calls


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("create", errno.EMFILE),
        ("create", errno.EACCES),
        ("write", errno.ENOSPC),
        ("write", errno.EIO),
        ("fsync", errno.EIO),
        ("rename", errno.EIO),
        ("rename", errno.ENOSPC),
        ("rename", errno.EACCES),
    ],
)
def test_the_nth_failing_call_is_one_clear_error(tmp_path, monkeypatch, name, number):
    fill(tmp_path / "golden", count=3)
    with Store.open(tmp_path / "golden") as store:
        before = contents(store)
    for nth in range(1, 100):
        path = tmp_path / str(nth)
        shutil.copytree(tmp_path / "golden", path)
        store = Store.open(path)
        with monkeypatch.context() as patch:
            calls = fail_on(patch, name, nth=nth, number=number)
            try:
                one_of_everything(store)
            except StoreError as error:
                assert error.errno == number and str(error).endswith((".", "`."))
                assert isinstance(error, SyncFailed) == (name == "fsync")
        if calls[0] < nth:
            assert nth > 4
            break
        assert not list((path / "tmp").iterdir())
        if name == "fsync":
            with pytest.raises(SyncFailed, match="takes no more writes"):
                store.put(b"after a failed fsync")
            store = Store.open(path)
        one_of_everything(store)
        assert verify(store, level="full").exit_status == 0
        now = contents(store)
        assert now["heads"].items() >= before["heads"].items()
        assert [body["n"] for _, body in now["experiment"]] == [0, 1, 2, 2]
        store.close()
    else:
        pytest.fail("never came to an end")


def test_short_writes_are_continued(path, monkeypatch):
    right = disk.write
    monkeypatch.setattr(disk, "write", lambda descriptor, data: right(descriptor, data[:7]))
    with Store.open(path) as store:
        assert store.get(store.put(b"0123456789" * 20)) == b"0123456789" * 20


def test_a_full_disk_is_one_clear_error_and_ends_when_there_is_room(path):
    def work(report: int) -> None:
        store = Store.open(path)
        full = errors = 0
        for limit in (60_000, 8_000, 1 << 20, 30_000, 1 << 20):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            for _ in range(30):
                try:
                    layer = store.put(os.urandom(20_000))
                    address = store.add_record("task", {"layer": layer, "limit": limit}, refs=[layer])
                    os.write(report, f"{address}\n".encode())
                except StoreError as error:
                    full += error.errno in (errno.EFBIG, errno.ENOSPC, errno.EIO)
                    errors += 1
                    assert not list((path / "tmp").iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert full == errors > 20
        os.write(report, f"{store.add_record('task', {'after': 1})}\n".encode())

    process, pipe = in_child(work)
    acknowledged = everything(pipe).split()
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    with Store.open(path) as store:
        assert {address for address, _ in store.records("task")} >= set(acknowledged) and len(acknowledged) > 20
        assert verify(store, level="full").exit_status == 0


# Rot


def flip(file: Path, chance: random.Random) -> None:
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


def test_every_flipped_bit_is_found_named_and_never_served(path):
    fill(path)
    chance = random.Random(3)
    files = [file for room in ("objects", "records") for file in (path / room).rglob("*") if file.is_file()]
    with Store.open(path) as store:
        assert verify(store, level="full").exit_status == 0
        for _ in range(60):
            file = chance.choice(files)
            good = file.read_bytes()
            flip(file, chance)
            report = verify(store, level="full")
            assert report.exit_status == 1 and [finding.address for finding in report.findings] == [file.name]
            folder = store.objects if file.parent.parent.name == "objects" else store.record_files
            with pytest.raises(CorruptObject, match=file.name):
                folder.read(file.name)
            if folder is store.objects:
                assert report.findings[0].needed_by
            file.write_bytes(good)


def test_missing_and_cut_objects_are_found_quickly(path):
    fill(path)
    with Store.open(path) as store:
        layers = sorted(store.objects.addresses())
        store.objects.path(layers[0]).unlink()
        file = store.objects.path(layers[1])
        file.chmod(0o644)
        file.write_bytes(b"cut")
        for level in ("quick", "full"):
            report = verify(store, level=level)
            assert report.exit_status == 3 and [f.address for f in report.findings] == layers[:2]
        next(path for path in (path / "records").rglob("*") if path.is_file()).unlink()
        assert verify(store).exit_status & 2


def test_putting_the_same_bytes_again_heals_the_store(path):
    with Store.open(path) as store:
        address = store.put(b"good" * 100)
        flip(store.objects.path(address), random.Random(4))
        with pytest.raises(CorruptObject):
            store.get(address)
        assert store.put(b"good" * 100) == address and store.get(address) == b"good" * 100
        assert len(list((path / "quarantine").iterdir())) == 1
        assert verify(store, level="full").exit_status == 0


def test_verify_in_slices_comes_to_everything(path):
    fill(path, count=6)
    with Store.open(path) as store:
        total = verify(store, level="full").checked
        assert not verify(store, level="full", max_seconds=0).complete
        turns = [turn for _, turn in store.catalogue.sizes().values()]
        hidden = len(store.catalogue.hidden())  # looked at too, but nobody needs it
        assert len(turns) == total - hidden and set(turns) == {1}


WRECKS: dict[str, Callable[[Path], object]] = {
    "removed": lambda file: file.unlink(),
    "emptied": lambda file: file.write_bytes(b""),
    "rubbish": lambda file: file.write_bytes(b"rubbish" * 5000),
    "head lost": lambda file: file.write_bytes(b"\0" * 4096 + file.read_bytes()[4096:]),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:5000]),
    "another's": lambda file: (file.unlink(), sqlite3.connect(file).execute("CREATE TABLE t(x)").connection.close()),
}


@pytest.mark.parametrize("how", WRECKS)
def test_a_wrecked_catalogue_is_rebuilt_equal(path, how):
    fill(path)
    with Store.open(path) as store:
        before = contents(store)
        rows = {address: store.catalogue.rows(address) for address in store.catalogue.addresses()}
    WRECKS[how](path / "catalog.db")
    with Store.open(path) as store:
        assert contents(store) == before
        assert rows == {address: store.catalogue.rows(address) for address in store.catalogue.addresses()}
        assert verify(store, level="full").exit_status == 0
        assert store.add_record("task", {"goes": "on"})


def test_a_flipped_bit_in_the_catalogue_never_gives_a_wrong_record(path):
    fill(path, count=20)
    with Store.open(path) as store:
        before = contents(store)
        truth = {address: store.record(address) for address in store.catalogue.addresses()}
    good, chance, noticed = (path / "catalog.db").read_bytes(), random.Random(5), 0
    for _ in range(30):
        (path / "catalog.db").write_bytes(good)
        flip(path / "catalog.db", chance)
        with Store.open(path) as store:
            try:
                for kind in ("task", "experiment"):
                    assert all(truth[address] == body for address, body in store.records(kind))
                same = contents(store) == before
            except StoreError:
                same = False
            status = verify(store, level="full").exit_status
            assert same or status & 8
            if status:
                noticed += 1
                rebuild(store)
                assert contents(store) == before
    assert noticed > 3


def test_a_row_of_another_name_is_not_believed(path):
    with Store.open(path) as store:
        for name in "ab":
            store.set_head(f"task/{name}", store.add_record("task", {"name": name}))
        with store.catalogue.transaction():
            for old, new in (("task/a", "gone"), ("task/b", "task/a")):
                store.catalogue.database.change("UPDATE record SET id=? WHERE id=?", (new, old))
        with pytest.raises(StoreError, match="polymath rebuild"):
            store.head("task/a")
        rebuild(store)
        assert store.record(store.head("task/a")) == {"name": "a"}


def test_what_is_missing_is_named_though_one_that_needs_it_is_damaged_too(path):
    with Store.open(path) as store:
        layer = store.put(b"layer")
        _, bad = (store.add_record("task", {"name": name}, refs=[layer], id=f"id {name}") for name in "ab")
        for file in (store.objects.path(layer), store.record_files.path(bad)):
            file.unlink()
        with store.catalogue.transaction():
            store.catalogue.database.change("UPDATE record SET text='' WHERE address=?", (bad,))
        (found,) = [one for one in verify(store).findings if one.address == layer]
        assert found.needed_by == (("task", "a"), ("task", "id b"))


# Others


def test_processes_write_at_once(path):
    def work(which: int) -> Callable[[int], None]:
        def add(report: int) -> None:
            with Store.open(path) as store:
                for n in range(40):
                    layer = store.put(f"layer {n}".encode())  # the same for all
                    store.set_head(f"task/{n}", store.add_record("task", {"by": which, "n": n}, refs=[layer]))

        return add

    children = [in_child(work(which)) for which in range(3)]
    for process, pipe in children:
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
        os.close(pipe)
    with Store.open(path) as store:
        found = [(body["by"], body["n"]) for _, body in store.records("task")]
        assert sorted(found) == [(which, n) for which in range(3) for n in range(40)]
        for which in range(3):
            assert [n for by, n in found if by == which] == list(range(40)), "each in its own order"
        assert len(store.heads()) == 40 and len(list(store.objects.addresses())) == 40
        before = contents(store)
        rebuild(store)
        assert contents(store) == before and verify(store, level="full").exit_status == 0


def test_many_processes_make_one_store(path):
    children = [in_child(lambda report: os.write(report, Store.open(path).identity.encode())) for _ in range(6)]
    assert len({everything(pipe) for _, pipe in children}) == 1
    assert all(os.waitpid(process, 0)[1] == 0 for process, _ in children)


def test_a_store_lives_on_both_sides_of_a_fork(path):
    """While threads of the parent write, children use the same object; SQLite itself would not survive this."""
    store = Store.open(path)
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        while not stop.is_set():
            store.add_record("thread", {"n": len(written)})
            written.append(1)

    def litter() -> None:
        while not stop.is_set():
            forgotten = Store.open(path.parent / "other")
            forgotten.cycle = forgotten  # left to the garbage collector, in whichever thread it runs
            del forgotten
            gc.collect(0)

    threads = [threading.Thread(target=work, daemon=True) for work in (write, litter)]
    for thread in threads:
        thread.start()
    children = []
    for which in range(8):
        children.append(
            in_child(lambda report, which=which: [store.add_record("child", {"by": which, "n": n}) for n in range(5)])
        )
        time.sleep(0.01)
    for process, pipe in children:
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
        os.close(pipe)
    stop.set()
    for thread in threads:
        thread.join()
    assert len(list(store.records("child"))) == 40 and len(list(store.records("thread"))) == len(written) > 0
    assert verify(store, level="full").exit_status == 0
    store.close()


def test_threads_share_a_store(path):
    with Store.open(path) as store:
        work = [
            threading.Thread(
                target=lambda which=which: [store.add_record("task", {"n": [which, n]}) for n in range(25)]
            )
            for which in range(4)
        ]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
        assert len(list(store.records("task"))) == 100


def test_a_rebuild_under_a_writer_loses_nothing(path):
    def add(report: int) -> None:
        with Store.open(path) as store:
            for n in range(60):
                os.write(report, f"{store.add_record('task', {'n': n})}\n".encode())

    Store.open(path).close()
    process, pipe = in_child(add)
    with Store.open(path) as store:
        for _ in range(4):
            rebuild(store)
        acknowledged = everything(pipe).split()
        assert os.waitpid(process, 0)[1] == 0
        assert [address for address, _ in store.records("task")] == acknowledged and len(acknowledged) == 60
        assert verify(store, level="full").exit_status == 0


def test_a_stopped_process_with_the_lock_is_named(path):
    Store.open(path).close()
    file = path / "locks" / "write"
    refused = pytest.raises(StoreError, match=f"Process {os.getpid()} has held the lock")
    with locks.held(file), refused, locks.held(file, patience_seconds=0.05):
        pytest.fail("two held it")
    with locks.held(file, patience_seconds=0.05):
        pass


# Strangers


def test_a_catalogue_of_a_stranger_is_not_used(path):
    fill(path, count=3)
    with Store.open(path) as store:
        before = contents(store)
    connection = sqlite3.connect(path / "catalog.db")
    connection.executescript(
        "DROP TABLE record; CREATE VIEW record AS WITH RECURSIVE endless(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM "
        "endless) SELECT n AS address, 'task' AS kind, n AS id, 0 AS fence, n AS written, 1 AS counts, '' AS text "
        "FROM endless;"
    )
    connection.close()
    for read_only in (True, False):
        with Store.open(path, read_only=read_only) as store:
            assert contents(store) == before
    fill(path, count=3)


def test_triggers_of_a_stranger_do_not_fire(path):
    fill(path, count=2)
    connection = sqlite3.connect(path / "catalog.db")
    connection.execute("CREATE TRIGGER evil AFTER INSERT ON record BEGIN DELETE FROM record; END")
    connection.close()
    with Store.open(path) as store:
        store.add_record("task", {"n": "new"})
        assert len(list(store.records("experiment"))) == 2


def test_links_and_pipes_of_a_stranger_are_not_followed(path, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    with Store.open(path) as store:
        addresses = [store.put(f"{n}".encode()) for n in range(3)]
        files = [store.objects.path(address) for address in addresses]
        for file in files:
            file.unlink()
        files[0].symlink_to(secret)
        os.mkfifo(files[1])
        files[2].mkdir()
        for address in addresses:
            with pytest.raises(StoreError):
                store.get(address)
        assert verify(store, level="full").exit_status & 1
    (path / "locks" / "write").unlink()
    (path / "locks" / "write").symlink_to(secret)
    with pytest.raises(StoreError):
        Store.open(path)
    (path / "locks" / "write").unlink()
    (path / "catalog.db").unlink()
    (path / "catalog.db").symlink_to(secret)
    Store.open(path).close()
    assert secret.read_bytes() == b"secret"


def test_foreign_files_among_the_objects_are_left_alone(path):
    fill(path, count=2)
    for name in ("objects/README", "records/ab/notes.txt", "records/zz/x", "objects/ab/" + "0" * 64):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("x")
    with Store.open(path) as store:
        before = contents(store)
        rebuild(store)
        assert contents(store) == before and list(store.objects.addresses())
        assert Draft(kind="task", body={}).refs == ()
