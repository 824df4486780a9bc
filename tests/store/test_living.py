"""What a store promises when things are forgotten, collected, merged, copied and backed up beside others who write."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from polymath.spec import BadInput, canonical, sha256
from polymath.store import (
    CorruptObject,
    MissingObject,
    Store,
    StoreError,
    backup,
    collect,
    copy,
    forget,
    merge,
    rebuild,
    verify,
)
from polymath.store.records import Record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "knowledge"


@pytest.fixture
def store(path: Path):
    with Store.open(path) as opened:
        yield opened


def learned(store: Store, name: str, *layers: object, version: int = 1) -> str:
    """A task whose path has these layers, each a number or the bytes of an object."""
    refs = [
        store.put(layer) if isinstance(layer, bytes) else store.put_tensors({"w": np.full(50, layer, np.float32)})
        for layer in layers
    ]
    address = store.add_record("task", {"name": name, "version": version, "layers": refs}, refs=refs)
    store.set_head(f"task/{name}", address)
    return address


def seen(store: Store) -> dict[str, object]:
    """All that a reader can see, the objects that tasks name included."""
    kinds = ("task", "experiment", "head", "note")
    found: dict[str, object] = {kind: sorted(store.records(kind), key=lambda one: one[0]) for kind in kinds}
    found["heads"] = store.heads()
    layers = {layer for _, body in store.records("task") for layer in body["layers"]}
    found["layers"] = {layer: store.get(layer) for layer in sorted(layers)}
    return found


def in_child(work) -> int:
    process = os.fork()
    if process == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            os.write(2, repr(error).encode())
        finally:
            os._exit(1)
    return process


def wait_for(process: int) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def age(store: Store) -> None:
    """Make every object two days old."""
    for address in store.objects.addresses():
        os.utime(store.objects.path(address), (time.time() - 2 * 86400,) * 2)


# Forgetting


def test_forgetting_takes_what_only_that_task_used(store):
    learned(store, "kept", 1, 2)
    learned(store, "gone", 2, 3, version=1)
    gone = learned(store, "gone", 2, 3, 4, version=2)
    versions = [address for address, body in store.records("task") if body["name"] == "gone"]
    store.add_record("experiment", {"task": "gone", "score": 0.5})
    before = {name: shown for name, shown in seen(store).items() if name in ("experiment",)}
    bytes_before = sum(store.objects.size(address) for address in store.objects.addresses())
    done = forget(store, versions, reason="asked for")
    assert done.collected.objects == 2 and done.collected.records == 4 and done.collected.waiting == 0
    assert 0 < bytes_before - sum(map(store.objects.size, store.objects.addresses())) < done.collected.bytes
    assert {ref: [kind for kind, *_ in users] for ref, users in done.shared.items()} == {
        store.put_tensors({"w": np.full(50, 2, np.float32)}): ["task"]
    }
    assert list(store.heads()) == ["task/kept"] and store.head("task/gone") is None
    assert seen(store)["experiment"] == before["experiment"]
    with pytest.raises(MissingObject):
        store.record(gone)
    shown = seen(store)
    for _ in range(2):
        assert verify(store, level="full").exit_status == 0 and seen(store) == shown
        rebuild(store)
    assert collect(store).records == 0


def test_what_was_forgotten_can_be_learned_again(store):
    first = learned(store, "x", 1)
    forget(store, [first])
    again = learned(store, "x", 1)
    assert again != first and store.head("task/x") == again
    assert collect(store).objects == 0 and verify(store, level="full").exit_status == 0


def test_an_older_version_counts_again_when_the_later_is_forgotten_collected_or_not(store):
    first, second = learned(store, "x", 1), learned(store, "x", 2, version=2)
    store.tombstone(second)
    assert store.heads() == {"task/x": first}
    collect(store)
    assert store.heads() == {"task/x": first} and verify(store, level="full").exit_status == 0
    rebuild(store)
    assert store.heads() == {"task/x": first}


def test_a_kill_at_any_step_of_collecting_leaves_a_sound_store(tmp_path, monkeypatch):
    golden = tmp_path / "golden"
    with Store.open(golden) as store:
        learned(store, "kept", 1, 2)
        learned(store, "gone", 2, 3, 4)
        store.tombstone(store.head("task/gone"))
        shown = seen(store)
    for step in range(1, 40):
        path = tmp_path / str(step)
        shutil.copytree(golden, path)
        calls = [0]

        def die(right, calls=calls, step=step):
            def wrong(*args):
                calls[0] += 1
                if calls[0] == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return right(*args)

            return wrong

        def work(path=path, die=die):
            from polymath.store import disk

            with Store.open(path) as store:
                disk.rename, disk.unlink = die(disk.rename), die(disk.unlink)
                collect(store)

        process = in_child(work)
        died = os.WIFSIGNALED(os.waitpid(process, 0)[1])
        with Store.open(path) as store:
            assert verify(store, level="full").exit_status == 0 and seen(store) == shown
            collect(store)
            assert verify(store, level="full").exit_status == 0 and seen(store) == shown
            assert verify(store, level="full").unused == 0 and len(list(store.objects.addresses())) == 2
        if not died:
            assert step > 5
            return
    pytest.fail("never came to an end")


def test_what_is_hidden_and_needed_stays(store, tmp_path):
    layer = store.put(b"of the base")
    base = store.add_record("note", {"base": True}, refs=[layer])
    above = store.add_record("note", {"above": True}, refs=[base])
    store.set_head("note/base", base)
    store.tombstone(base)
    assert collect(store).records == 1 and not store.heads(), "the name goes"
    assert store.record(base) == {"base": True} and store.get(layer) == b"of the base"
    assert verify(store, level="full").exit_status == 0
    with Store.open(tmp_path / "other") as other:
        assert not merge(other, store.path).left_out
        assert [address for address, _ in other.records("note")] == [above] and other.get(layer) == b"of the base"
        assert verify(other, level="full").exit_status == 0
    assert not backup(store, tmp_path / "backup").left_out
    with Store.open(tmp_path / "backup") as copied:
        assert seen(copied) == seen(store) and verify(copied, level="full").exit_status == 0
    store.tombstone(above)
    assert collect(store).records == 2 and verify(store, level="full").exit_status == 0
    assert not list(store.objects.addresses())


# Collecting beside others


def test_young_objects_wait_while_others_have_the_store_open(store, path):
    store.put(b"x" * 1000)
    with Store.open(path):
        assert collect(store).waiting == 1000
        age(store)
        assert store.has(sha256(b"x" * 1000)), "asked for: young again"
        assert collect(store).objects == 0
        age(store)
        store.put(b"x" * 1000)
        assert collect(store).objects == 0
        age(store)
        assert collect(store).objects == 1
    store.put(b"y")
    assert collect(store).objects == 1, "alone there is nobody to wait for"


def test_a_child_of_a_fork_is_somebody_else(store):
    store.put(b"parent's, about to get its record")

    def work():
        assert collect(store).waiting and collect(store).objects == 0

    wait_for(in_child(work))
    assert collect(store).objects == 1


def test_a_writer_whose_object_was_collected_is_told(store, monkeypatch):
    layer = store.put(b"layer")
    put_all = store.record_files.put_all

    def meddle(some):
        put_all(some)
        store.objects.remove(layer)

    monkeypatch.setattr(store.record_files, "put_all", meddle)
    with pytest.raises(MissingObject, match="needs"):
        store.add_record("task", {"name": "x", "layers": [layer]}, refs=[layer])
    monkeypatch.undo()
    assert not list(store.records("task")) and verify(store, level="full").exit_status == 0


def test_writers_and_a_collector_lose_nothing(path):
    def write(which: int) -> None:
        with Store.open(path) as store:
            for n in range(25):
                address = learned(store, f"{which}-{n}", n % 5, 100 + which * 100 + n)
                if n % 2:
                    forget(store, [address])

    def gather() -> None:
        with Store.open(path) as store:
            for _ in range(30):
                collect(store)
                age(store)

    Store.open(path).close()
    children = [in_child(lambda which=which: write(which)) for which in range(2)]
    with Store.open(path) as store:
        for _ in range(15):
            collect(store)
    for child in children:
        wait_for(child)
    with Store.open(path) as store:
        collect(store)
        assert len(store.heads()) == 26 and len(seen(store)["layers"]) == 5 + 26
        assert verify(store, level="full").exit_status == 0 and len(list(store.objects.addresses())) == 5 + 26


# Merging


def both(tmp_path: Path) -> tuple[Path, Path]:
    """Two stores with something in common, the same names for different things, and something forgotten in each."""
    with Store.open(tmp_path / "base") as base:
        learned(base, "shared", 1, 2)
        learned(base, "forgotten", 2, 3)
    for name, offset in (("a", 10), ("b", 20)):
        shutil.copytree(tmp_path / "base", tmp_path / name)
        with Store.open(tmp_path / name) as store:
            for n in range(offset // 10):
                store.add_record("note", {"n": n})
            learned(store, f"only {name}", 2, offset)
            learned(store, "same name", offset)
            if name == "b":
                forget(store, [store.head("task/forgotten")])
    return tmp_path / "a", tmp_path / "b"


def merged(tmp_path: Path, *order: Path) -> dict[str, object]:
    """What is seen after merging all into a copy of the first."""
    target = tmp_path / f"merged{random.random()}"
    shutil.copytree(order[0], target)
    with Store.open(target) as store:
        for other in order[1:]:
            merge(store, other)
        assert verify(store, level="full").exit_status == 0
        shown = seen(store)
        assert not any(merge(store, other).records for other in order), "once more changes nothing"
        rebuild(store)
        assert seen(store) == shown
        collect(store)
        assert seen(store) == shown and verify(store, level="full").exit_status == 0
    return shown


def test_merging_is_a_union_in_any_order(tmp_path):
    a, b = both(tmp_path)
    one, other = merged(tmp_path, a, b), merged(tmp_path, b, a)
    assert one == other
    assert list(one["heads"]) == ["task/only a", "task/only b", "task/same name", "task/shared"]
    with Store.open(a) as store:
        assert merged(tmp_path, a, a) == seen(store)
        older = store.head("task/same name")
        report = merge(store, b)
        assert report.heads["task/forgotten"][1] is None and report.heads["task/only b"][0] is None
        assert report.heads["task/same name"][0] == older and store.record(older)["name"] == "same name"
        assert not report.left_out and report.bytes > 0


def flip(file: Path, chance: random.Random) -> None:
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


def plant(folder: Path, data: bytes, address: str = "") -> str:
    address = address or sha256(data)
    file = folder / address[:2] / address
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_bytes(data)
    return address


def record(store: Path, **fields: object) -> str:
    """A record file without the checks of an honest writer."""
    whole = {"body": {}, "fence": 0, "id": "x", "kind": "note", "refs": [], "schema": 1, "written": 5} | fields
    return plant(store / "records", canonical(whole).encode())


def finite(record: Record) -> list[str]:
    if record.kind == "task" and not isinstance(record.body.get("layers"), list):
        raise ValueError("not a task")
    return record.body["layers"] if record.kind == "task" else []


def tensor_file(header: str, data: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header.encode() + data


F4 = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


def hostile(path: Path, secret: Path) -> dict[str, str]:
    """A store full of traps; address of what is bad in it, by what it is."""
    with Store.open(path) as store:
        learned(store, "good", 7)
        nan = learned(store, "nan", np.nan)
        twice = learned(store, "twice", tensor_file(f'{{"w":{F4},"w":{F4}}}', b"abcd"))
        lost, rotten = learned(store, "lost", 8), learned(store, "rotten", 9)
        lost_layer, rotten_layer = store.record(lost)["layers"][0], store.record(rotten)["layers"][0]
    (path / "objects" / lost_layer[:2] / lost_layer).unlink()
    flip(path / "objects" / rotten_layer[:2] / rotten_layer, random.Random(1))
    bad = {"nan": nan, "twice": twice, "lost": lost, "rotten": rotten}
    bad["missing"] = record(path, kind="task", id="m", body={"layers": ["0" * 64]}, refs=["0" * 64])
    bad["no task"] = record(path, kind="task", id="n", body={"layers": "many"})
    bad["future"] = record(path, kind="head", id="f", written=(1 << 53) - 1)
    bad["fence"] = record(path, id="g", fence=(1 << 53) - 1)
    good = record(path, id="fine", written=3)
    for number, name in enumerate(("../../etc/passwd", "task/../x", "/etc", "task/a\nb", "task/.git", "a\\b")):
        bad[name] = record(path, kind="head", id=name, body={"name": name, "record": good}, refs=[good], written=number)
    bad["two faces"] = record(path, kind="head", id="task/x", body={"name": "task/y", "record": good}, refs=[good])
    bad["tombstone"] = record(path, kind="tombstone", id="../x", body={"record": "../x"})
    bad["liar"] = plant(path / "records", b"{}", "ab" + "0" * 62)
    bad["rubbish"] = plant(path / "records", b"[" * 10_000)
    bad["huge"] = plant(path / "records", b" " * ((1 << 20) + 1))
    link = path / "records" / "cd" / ("cd" + "1" * 62)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(secret)
    bad["link"] = link.name
    pipe = path / "objects" / "ef" / ("ef" + "2" * 62)
    pipe.parent.mkdir(exist_ok=True)
    os.mkfifo(pipe)
    bad["pipe"] = record(path, id="p", refs=[pipe.name])
    endless = "CREATE VIEW record AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n) SELECT x FROM n"
    (path / "catalog.db").unlink()
    __import__("sqlite3").connect(path / "catalog.db").execute(endless).connection.close()
    return bad


def test_a_hostile_store_is_sifted(store, tmp_path):
    mine = learned(store, "mine", 1)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    bad = hostile(tmp_path / "hostile", secret)
    listing = sorted(str(file) for file in (tmp_path / "hostile").rglob("*"))
    begin = time.monotonic()
    report = merge(store, tmp_path / "hostile", examine=finite)
    assert time.monotonic() - begin < 20
    assert listing == sorted(str(file) for file in (tmp_path / "hostile").rglob("*")), "nothing is written there"
    assert list(store.heads()) == ["task/good", "task/mine"] and store.head("task/mine") == mine
    named = {entry.partition(":")[0] for entries in report.left_out.values() for entry in entries}
    assert {what for what, address in bad.items() if address not in named} == set()
    rows = store.catalogue.addresses()
    assert not rows & set(bad.values())
    said = json.dumps(report.left_out)
    assert "NaN" in said and "twice" in said.lower() and "far future" in said and "lead out" in said
    assert verify(store, level="full").exit_status == 0
    assert all(np.isfinite(store.get_tensors(layer)["w"]).all() for layer in seen(store)["layers"])
    assert store.add_record("note", {"goes": "on"}) and store.claim("trial", "me")
    again = merge(store, tmp_path / "hostile", examine=finite)
    assert again.records == again.objects == 0


def test_a_store_without_end_is_refused(store, tmp_path, monkeypatch):
    with Store.open(tmp_path / "other") as other:
        for n in range(20):
            other.add_record("note", {"n": n})
    monkeypatch.setattr(sys.modules["polymath.store.merge"], "MOST_RECORDS", 10)
    before = seen(store)
    with pytest.raises(BadInput, match="more records than can be honest"):
        merge(store, tmp_path / "other")
    assert seen(store) == before


def test_objects_that_cannot_fit_are_not_read(store, tmp_path):
    with Store.open(tmp_path / "other") as other:
        address = learned(other, "big", 1)
        file = other.objects.path(other.record(address)["layers"][0])
    file.chmod(0o644)
    os.truncate(file, 1 << 42)
    report = merge(store, tmp_path / "other")
    assert "objects that do not fit into the memory of this machine" in report.left_out and not store.heads()


@pytest.mark.parametrize("text", ["", '{"format":2,"hash":"sha256","store":"x"}', "[" * 4000])
def test_what_is_no_store_or_a_newer_one_is_not_merged(store, tmp_path, text):
    other = tmp_path / "other"
    with pytest.raises(BadInput, match="no store here"):
        merge(store, other)
    other.mkdir()
    (other / "FORMAT").write_text(text)
    with pytest.raises(BadInput):
        merge(store, other)


@pytest.mark.parametrize("limit", [300, 30_000])
def test_a_merge_that_fails_changes_nothing(tmp_path, limit):
    """The disk is full: files larger than the limit cannot be written."""
    with Store.open(tmp_path / "mine") as store:
        learned(store, "mine", 1)
        shown, files = seen(store), sorted((tmp_path / "mine" / "objects").rglob("*"))
    with Store.open(tmp_path / "other") as other:
        for n in range(5):
            learned(other, f"small {n}", 2, n)
        learned(other, "large", os.urandom(50_000))

    def work() -> None:
        with Store.open(tmp_path / "mine") as store:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            with pytest.raises(StoreError) as refused:
                merge(store, tmp_path / "other")
            assert refused.value.errno in (errno.EFBIG, errno.ENOSPC, errno.EIO), refused.value

    wait_for(in_child(work))
    with Store.open(tmp_path / "mine") as store:
        assert seen(store) == shown and verify(store, level="full").exit_status == 0
        collect(store)
        assert sorted(file for file in (tmp_path / "mine" / "objects").rglob("*") if file.is_file()) == [
            file for file in files if file.is_file()
        ]
        assert merge(store, tmp_path / "other").records == 12


def test_a_merge_heals_what_is_damaged_here(store, tmp_path):
    address = learned(store, "x", 1, 2)
    backup(store, tmp_path / "backup")
    layers = store.record(address)["layers"]
    flip(store.objects.path(layers[0]), random.Random(2))
    store.objects.path(layers[1]).unlink()
    flip(store.record_files.path(address), random.Random(3))
    assert verify(store, level="full").exit_status
    with pytest.raises(CorruptObject):
        store.get(layers[0])
    report = merge(store, tmp_path / "backup")
    assert report.healed >= 2 and verify(store, level="full").exit_status == 0
    assert store.head("task/x") == address and len(seen(store)["layers"]) == 2


# Copies


def test_a_task_is_copied_with_what_it_needs(store, tmp_path):
    learned(store, "other", 1, 9)
    address = learned(store, "x", 1, 2)
    with Store.open(tmp_path / "target") as target:
        done = copy(store, target, address, head="task/x")
        assert done.objects == 2 and target.record(target.head("task/x")) == store.record(address)
        assert copy(store, target, address, head="task/x").objects == 0
        forget(target, [target.head("task/x")])
        assert not target.heads()
        copy(store, target, address, head="task/x")
        assert list(target.heads()) == ["task/x"] and verify(target, level="full").exit_status == 0
        flip(store.objects.path(store.record(address)["layers"][0]), random.Random(4))
        forget(target, [target.head("task/x")])
        with pytest.raises(CorruptObject):
            copy(store, target, address, head="task/x")
        assert not target.heads()


def test_a_backup_is_whole_at_any_moment_of_writing(store, path, tmp_path):
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            learned(store, f"task {n}", n, n + 1)
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(0.2)
        first = backup(store, tmp_path / "backup")
        copied = set((tmp_path / "backup" / "records").rglob("*"))
        again = backup(store, tmp_path / "backup")
    finally:
        stop.set()
        writer.join()
    assert first.records > 0 and not first.left_out and not again.left_out
    assert copied <= set((tmp_path / "backup" / "records").rglob("*"))
    last = backup(store, tmp_path / "backup")
    assert backup(store, tmp_path / "backup").records == 0 and last.objects >= 0
    with Store.open(tmp_path / "backup") as opened:
        assert opened.identity == store.identity and seen(opened) == seen(store)
        assert verify(opened, level="full").exit_status == 0
    with Store.open(path, read_only=True) as reader:
        assert backup(reader, tmp_path / "second").records > 0


def test_a_backup_names_what_is_damaged_and_takes_the_rest(store, tmp_path):
    learned(store, "sound", 1)
    bad = store.record(learned(store, "bad", 2))["layers"][0]
    flip(store.objects.path(bad), random.Random(5))
    report = backup(store, tmp_path / "backup")
    assert report.left_out["objects that are damaged"] == [bad] and len(report.left_out) == 2
    with Store.open(tmp_path / "backup") as opened:
        assert list(opened.heads()) == ["task/sound"] and verify(opened, level="full").exit_status == 0


def test_a_backup_goes_only_where_it_belongs(store, path, tmp_path):
    learned(store, "x", 1)
    for inside in (path, path / "backup"):
        with pytest.raises(BadInput, match="in the store itself"):
            backup(store, inside)
    Store.open(tmp_path / "other").close()
    with pytest.raises(BadInput, match="another store"):
        backup(store, tmp_path / "other")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("x")
    with pytest.raises(BadInput, match="not a store"):
        backup(store, tmp_path / "photos")
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="another folder"):
        backup(store, tmp_path / "file")


def test_what_needs_writing_is_refused_where_nothing_can_be_written(store, path):
    address = learned(store, "x", 1)
    with Store.open(path, read_only=True) as reader:
        for change in (lambda: forget(reader, [address]), lambda: collect(reader), lambda: merge(reader, path)):
            with pytest.raises(StoreError, match="reading only"):
                change()
    assert store.head("task/x") == address


# Several at once


def test_three_processes_learn_at_once(path):
    """Two different tasks and two of the same name: nothing is lost, and of the same name the later version counts."""

    def work(name: str, which: int):
        def run() -> None:
            with Store.open(path) as store:
                for version in range(10):
                    store.add_record("experiment", {"task": name, "by": which, "n": version})
                    learned(store, name, 1, 100 * which + version, version=100 * which + version)

        return run

    Store.open(path).close()
    children = [in_child(work(name, which)) for which, name in enumerate(("a", "same", "same"))]
    for child in children:
        wait_for(child)
    with Store.open(path) as store:
        assert list(store.heads()) == ["task/a", "task/same"] and len(list(store.records("experiment"))) == 30
        versions = sorted(body["version"] for _, body in store.records("task"))
        assert versions == [*range(10), *range(100, 110), *range(200, 210)], "every version is there"
        assert store.record(store.head("task/same"))["version"] in (109, 209), "who came last"
        before = seen(store)
        rebuild(store)
        assert seen(store) == before and verify(store, level="full").exit_status == 0


def test_a_record_that_is_taken_back_loses_the_row_that_others_gave_it(store, path, monkeypatch):
    layer = store.put(b"layer")
    put_all = store.record_files.put_all

    def meddle(some):
        put_all(some)
        monkeypatch.undo()
        Store.open(path).close()  # gives the record its row
        store.objects.remove(layer)

    monkeypatch.setattr(store.record_files, "put_all", meddle)
    with pytest.raises(MissingObject):
        store.add_record("note", {"n": 1}, refs=[layer])
    assert not list(store.records("note")) and verify(store, level="full").exit_status == 0


def test_an_unfinished_record_whose_needs_are_gone_is_set_aside(store, path):
    kept = learned(store, "x", 1)
    layer = store.put(b"collected before the record of a process that died had its row")

    def die() -> None:
        dying = Store.open(path)
        dying.catalogue.transaction = lambda: os.kill(os.getpid(), signal.SIGKILL)
        dying.add_record("task", {"name": "x", "layers": [layer]}, refs=[layer])

    os.waitpid(in_child(die), 0)
    store.objects.remove(layer)
    with Store.open(path) as opened:
        assert [address for address, _ in opened.records("task")] == [kept] and opened.head("task/x") == kept
        assert verify(opened, level="full").exit_status == 0 and len(list((path / "quarantine").iterdir())) == 1
