"""What a store promises while nothing goes wrong."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from polymath.spec import BadInput, canonical, sha256
from polymath.store import (
    CorruptObject,
    Draft,
    MissingObject,
    Record,
    Store,
    StoreError,
    rebuild,
    recovery,
    verify,
    writing,
)
from polymath.store import records as records_
from polymath.store import tensors as tensors_
from polymath.store.kit import check_objects, check_store
from polymath.store.objects import Folder, Sync


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "knowledge") as opened:
        yield opened


# Objects


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 5000])
def test_bytes_come_back_and_are_stored_once(store, data):
    address = store.put(data)
    assert address == sha256(data) == store.put(bytearray(data))
    assert store.get(address) == data and store.has(address) and store.size(address) == len(data)
    assert list(store.objects.addresses()) == [address]
    assert list((store.path / "tmp").iterdir()) == []


def test_a_stock_tool_can_check_an_object(store):
    address = store.put(b"anyone")
    path = store.path / "objects" / address[:2] / address
    assert subprocess.check_output(["sha256sum", path], text=True).startswith(address)
    assert not path.stat().st_mode & 0o222


@pytest.mark.parametrize("address", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n", "/" * 64, None, 7])
def test_only_addresses_become_paths(store, address):
    for use in (store.get, store.has, store.get_tensors, store.record, store.dependents):
        with pytest.raises(ValueError, match="is not an address"):
            use(address)


def test_what_is_not_there_is_missing(store):
    with pytest.raises(MissingObject, match=r"0{64}"):
        store.get("0" * 64)
    with pytest.raises(MissingObject):
        store.record("0" * 64)
    assert not store.has("0" * 64)


# Tensors

some_arrays = arrays.arrays(
    st.sampled_from([np.dtype(name) for name in sorted(tensors_.TYPES)]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), some_arrays, max_size=4))
def test_tensors_are_safetensors_in_one_canonical_form(tensors):
    chunks = tensors_.encode(tensors)
    backwards = dict(reversed(tensors.items()))
    assert chunks == tensors_.encode(backwards) == safetensors.numpy.save(tensors)
    back = tensors_.decode(bytearray(chunks))
    others = safetensors.numpy.load(chunks) if not any(a.dtype.kind == "c" for a in tensors.values()) else back
    assert sorted(back) == sorted(tensors) == sorted(others)
    for name, array in tensors.items():
        for found in (back[name], others[name]):
            assert found.dtype == array.dtype and found.shape == array.shape and found.tobytes() == array.tobytes()
        assert back[name].flags.writeable and back[name].flags.aligned


def test_equal_tensors_share_an_address_however_they_lie_in_memory(store):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    first = store.put_tensors({"b": array, "a": array.T})
    second = store.put_tensors({"a": np.ascontiguousarray(array.T), "b": array.astype(">f4")})
    assert first == second
    assert (store.get_tensors(first)["a"] == array.T).all()


def test_the_readers_copy_is_its_own(store):
    address = store.put_tensors({"w": np.zeros(3, np.float32)})
    store.get_tensors(address)["w"][:] = 7
    assert (store.get_tensors(address)["w"] == 0).all()


def test_files_written_by_safetensors_itself_are_read(store):
    tensors = {"odd": np.arange(3, dtype=np.uint8), "wide": np.arange(5, dtype=np.float64)}
    back = store.get_tensors(store.put(safetensors.numpy.save(tensors, {"by": "others"})))
    assert all((back[name] == tensors[name]).all() for name in tensors)


def test_finite_is_checked_when_asked_for(store):
    address = store.put_tensors({"w": np.array([1.0, np.nan])})
    assert np.isnan(store.get_tensors(address)["w"]).any()
    with pytest.raises(CorruptObject, match="NaN"):
        store.get_tensors(address, finite=True)


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([object()]), np.zeros(2, np.complex128)])
def test_types_that_cannot_be_held_are_refused(store, array):
    with pytest.raises(ValueError, match="does not hold"):
        store.put_tensors({"w": array})


def file_of(header: str, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header.encode())) + header.encode() + data


F4 = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
BAD_TENSORS = {
    "empty": b"",
    "header longer than file": struct.pack("<Q", 1 << 60) + b"{}",
    "not JSON": file_of("{"),
    "a list": file_of("[]"),
    "name twice": file_of(f'{{"w":{F4},"w":{F4}}}', b"abcd"),
    "overlap": file_of(f'{{"v":{F4},"w":{F4}}}', b"abcd"),
    "hole": file_of('{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', b"abcdefgh"),
    "trailing bytes": file_of(f'{{"w":{F4}}}', b"abcde"),
    "truncated": file_of(f'{{"w":{F4}}}', b"abc"),
    "shape lies": file_of('{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', b"abcd"),
    "shape overflows": file_of('{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}'),
    "huge empty shape": file_of('{"w":{"dtype":"F32","shape":[0,1099511627776,1099511627776],"data_offsets":[0,0]}}'),
    "shape is a number": file_of('{"w":{"dtype":"F32","shape":1,"data_offsets":[0,4]}}', b"abcd"),
    "entry is a number": file_of('{"w":1}'),
    "negative": file_of('{"w":{"dtype":"F32","shape":[-1],"data_offsets":[4,0]}}', b"abcd"),
    "fraction": file_of('{"w":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}', b"abcd"),
    "true as a number": file_of('{"w":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}', b"abcd"),
    "unknown type": file_of('{"w":{"dtype":"PY","shape":[1],"data_offsets":[0,4]}}', b"abcd"),
    "more fields": file_of('{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"code":"x"}}', b"abcd"),
    "metadata is no text": file_of('{"__metadata__":{"a":1}}'),
    "deep": file_of("[" * 100_000),
    "no UTF-8": struct.pack("<Q", 2) + b"\xff\xfe",
}


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_malformed_tensors_are_refused(store, name):
    with pytest.raises(CorruptObject):
        store.get_tensors(store.put(BAD_TENSORS[name]))


# Records


def test_a_record_comes_back_with_all_it_was_given(store):
    layer = store.put(b"layer")
    body = {"score": 0.5, "none": None, "list": [1, {"x": True}], "ünï": "çödé \u2028"}
    address = store.add_record("task", body, refs=[layer], id="flowers")
    assert store.record(address) == body
    entry = store.entry(address)
    assert (entry.kind, entry.id, entry.refs, entry.address) == ("task", "flowers", (layer,), address)
    assert store.find("task", "flowers") == address
    path = store.path / "records" / address[:2] / address
    assert canonical(json.loads(path.read_bytes())).encode() == path.read_bytes()
    assert store.dependents(layer) == [("task", "flowers")]


def test_records_are_listed_in_the_order_they_were_added(store):
    added = [store.add_record("experiment", {"n": n, "problem": "ab"[n % 2]}) for n in range(30)]
    added += store.add_records([Draft(kind="experiment", body={"n": n, "problem": "c"}) for n in range(30, 60)])
    store.add_record("other", {"n": 99})
    assert [address for address, _ in store.records("experiment")] == added
    assert [body["n"] for _, body in store.records("experiment")] == list(range(60))
    assert [body["n"] for _, body in store.records("experiment", where={"problem": "b"})] == list(range(1, 30, 2))
    assert not list(store.records("experiment", where={"problem": "a", "n": "0"}))
    assert not list(store.records("nothing"))


def test_adding_the_same_again_changes_nothing_and_new_content_takes_its_place(store):
    first = store.add_record("task", {"v": 1}, id="x")
    assert store.add_record("task", {"v": 1}, id="x") == first
    second = store.add_record("task", {"v": 2}, id="x")
    assert [address for address, _ in store.records("task")] == [second] and store.find("task", "x") == second
    assert store.record(first) == {"v": 1}
    third = store.add_record("task", {"v": 1}, id="x")
    assert third != first and store.find("task", "x") == third
    nameless = store.add_record("note", {"v": 1})
    assert store.add_record("note", {"v": 1}) == nameless


def test_equal_histories_have_equal_addresses(tmp_path):
    def history(path: Path) -> list[str]:
        with Store.open(path) as store:
            layer = store.put_tensors({"w": np.ones(3)})
            fence = store.claim("t1", "me")
            return [
                layer,
                store.finish("t1", fence, {"score": 1.0}, refs=[layer]),
                store.add_record("task", {"a": 1}, refs=[layer]),
            ]

    assert history(tmp_path / "a") == history(tmp_path / "b")


@pytest.mark.parametrize(
    "body",
    [
        {"x": float("nan")},
        {"x": float("inf")},
        {"x": 1 << 53},
        {"x": object()},
        {"x": b"bytes"},
        {1: "key"},
        {"x": "\ud800"},
        {"x": "y" * (1 << 20)},
        {"x": np.float64(1)},
        "text",
        [],
    ],
    ids=lambda body: re.sub(" at 0x[0-9a-f]+", "", repr(body))[:60],
)
def test_what_is_no_record_is_refused_and_leaves_nothing(store, body):
    with pytest.raises((ValueError, TypeError)):
        store.add_record("task", body)
    assert not list(store.record_files.addresses())


@pytest.mark.parametrize("kind", ["", "Task", "a b", "x" * 65, "../x", "head", "tombstone", "late"])
def test_kinds_are_plain_words_and_some_are_reserved(store, kind):
    with pytest.raises(ValueError, match="kind"):
        store.add_record(kind, {})


def test_a_record_needs_its_refs(store):
    layer = store.put(b"here")
    with pytest.raises(MissingObject, match="the task 'x'"):
        store.add_record("task", {}, refs=[layer, "f" * 64], id="x")
    assert not list(store.record_files.addresses()) and not list(store.records("task"))


BAD_RECORDS = {
    "empty": b"",
    "list": b"[]",
    "blanks": b'{"body":{},"fence":0,"id":"x","kind":"task","refs":[],"schema":1,"written":1} ',
    "order": b'{"fence":0,"body":{},"id":"x","kind":"task","refs":[],"schema":1,"written":1}',
    "unknown field": b'{"body":{},"code":1,"fence":0,"id":"x","kind":"task","refs":[],"schema":1,"written":1}',
    "newer schema": b'{"body":{},"fence":0,"id":"x","kind":"task","refs":[],"schema":2,"written":1}',
    "infinite": b'{"body":{"x":1e999},"fence":0,"id":"x","kind":"task","refs":[],"schema":1,"written":1}',
    "key twice": b'{"body":{"x":1,"x":1},"fence":0,"id":"x","kind":"task","refs":[],"schema":1,"written":1}',
    "not UTF-8": b'{"body":{"x":"\xff"},"fence":0,"id":"x","kind":"task","refs":[],"schema":1,"written":1}',
    "refs": b'{"body":{},"fence":0,"id":"x","kind":"task","refs":["../x"],"schema":1,"written":1}',
    "deep": b"[" * 100_000,
    "fence": b'{"body":{},"fence":-1,"id":"x","kind":"task","refs":[],"schema":1,"written":1}',
}


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_foreign_bytes_are_no_records(name):
    with pytest.raises(ValueError):
        records_.read(BAD_RECORDS[name])


def test_a_tombstone_hides_for_good(store):
    kept, gone = store.add_record("task", {"n": 1}), store.add_record("task", {"n": 2}, id="gone")
    store.set_head("task/a", gone)
    store.set_head("task/b", kept)
    store.tombstone(gone, reason="asked for")
    for _ in range(2):
        assert [address for address, _ in store.records("task")] == [kept]
        assert store.find("task", "gone") is None and store.heads() == {"task/b": kept}
        assert store.record(gone) == {"n": 2}
        rebuild(store)
    again = store.add_record("task", {"n": 2}, id="gone")
    assert again != gone and store.find("task", "gone") == again


def test_names_mean_the_record_they_were_given_last(store):
    first, second = store.add_record("task", {"n": 1}), store.add_record("task", {"n": 2})
    for address in (first, second, first, first):
        store.set_head("task/ünï", address)
        assert store.head("task/ünï") == address
    store.set_head("task/b", second)
    store.set_head("tast", second)
    assert store.heads("task/") == {"task/b": second, "task/ünï": first}
    assert store.head("task/") is None and store.head("nobody") is None
    with pytest.raises(MissingObject):
        store.set_head("x", "0" * 64)


# Leases


def test_only_the_current_fence_finishes(store):
    old = store.claim("trial", "slow")
    assert store.claim("trial", "other") is None, "held by a live process"
    new = store.claim("trial", "fast", takeover=True)
    assert new > old and store.renew("trial", new, progress=3) and not store.renew("trial", old, progress=9)
    assert [(lease.owner, lease.progress, lease.alive) for lease in store.leases()] == [("fast", 3, True)]
    assert store.finish("trial", old, {"by": "slow"}) is None
    assert not list(store.records("experiment"))
    address = store.finish("trial", new, {"by": "fast"})
    assert store.finish("trial", new, {"by": "fast"}) == address, "repeating a finish is harmless"
    assert store.finish("trial", new, {"by": "fast again"}) is None
    assert store.finish("trial", old, {"by": "slow again"}) is None
    assert [body for _, body in store.records("experiment")] == [{"by": "fast"}]
    assert [body["body"]["by"] for _, body in store.records("late")] == ["slow", "fast again", "slow again"]
    assert store.leases() == []


def test_a_finish_survives_the_loss_of_the_leases(store):
    fence = store.claim("trial", "me")
    store.finish("other", store.claim("other", "me"), {})
    rebuild(store)
    newer = store.claim("third", "me")
    assert newer > fence
    assert store.finish("trial", fence, {"n": 1}), "nobody else claimed it"


def test_a_released_trial_can_be_claimed(store):
    fence = store.claim("trial", "me")
    assert store.release("trial", fence) and not store.release("trial", fence)
    assert store.claim("trial", "you") == fence + 1


def test_the_trial_of_a_dead_process_can_be_claimed(store):
    code = "import sys; from polymath.store import Store; Store.open(sys.argv[1]).claim('trial', 'dead')"
    subprocess.run([sys.executable, "-c", code, store.path], check=True)
    assert [lease.alive for lease in store.leases()] == [False]
    assert store.claim("trial", "me")


# Opening


def test_read_only_writes_nothing(store):
    store.set_head("task/x", store.add_record("task", {}))
    heads = store.heads()
    store.close()
    before = sorted((path, path.stat().st_mtime_ns) for path in store.path.rglob("*") if "catalog" not in path.name)
    with Store.open(store.path, read_only=True) as reader:
        assert reader.heads() == heads
        for write in (lambda: reader.put(b"x"), lambda: reader.add_record("task", {}), lambda: reader.claim("t", "me")):
            with pytest.raises(StoreError, match="reading only"):
                write()
        assert verify(reader, level="full").exit_status == 0
    assert before == sorted((p, p.stat().st_mtime_ns) for p in store.path.rglob("*") if "catalog" not in p.name)


def test_read_only_does_without_a_catalogue(store):
    store.set_head("task/x", store.add_record("task", {"n": 1}))
    heads = store.heads()
    store.close()
    (store.path / "catalog.db").write_bytes(b"rubbish" * 1000)
    with Store.open(store.path, read_only=True) as reader:
        assert reader.heads() == heads and reader.record(heads["task/x"]) == {"n": 1}
    assert (store.path / "catalog.db").read_bytes() == b"rubbish" * 1000


def test_what_is_no_store_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("x")
    with pytest.raises(BadInput, match="is not a folder"):
        Store.open(tmp_path / "file")
    with pytest.raises(BadInput, match="is not a folder"):
        Store.open(tmp_path / "file" / "below")
    with pytest.raises(BadInput, match="not a store"):
        Store.open(tmp_path / "photos")
    assert os.listdir(tmp_path / "photos") == ["cat.jpg"]
    for read in ({"create": False}, {"read_only": True}):
        with pytest.raises(BadInput, match="no store here"):
            Store.open(tmp_path / "nowhere", **read)
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(BadInput):
        Store.open(tmp_path / ("x" * 300))


@pytest.mark.parametrize("text", ['{"format":2,"hash":"sha256","store":"x"}', '{"format":1,"hash":"md5","store":"x"}'])
def test_a_newer_format_is_refused_untouched(tmp_path, text):
    (tmp_path / "FORMAT").write_text(text)
    with pytest.raises(BadInput, match="newer version"):
        Store.open(tmp_path)
    assert os.listdir(tmp_path) == ["FORMAT"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", "rubbish", '{"format":1}', "[" * 4000])
def test_a_damaged_format_is_named(tmp_path, text):
    (tmp_path / "FORMAT").write_text(text)
    with pytest.raises(BadInput, match="FORMAT"):
        Store.open(tmp_path)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "virtiofs", "fuse.sshfs"])
def test_network_file_systems_are_refused(tmp_path, kind):
    share = tmp_path / "a share"
    mounts = tmp_path / "mountinfo"
    lines = [
        "22 1 0:1 / / rw - ext4 /dev/vda rw",
        f"23 22 0:2 / {str(share).replace(' ', chr(92) + '040')} rw - {kind} s:/x rw",
    ]
    mounts.write_text("\n".join(lines))
    with pytest.raises(BadInput, match=f"network file system .{kind}"):
        Store.open(share / "knowledge", mounts=mounts)
    Store.open(tmp_path / "a sharepoint", mounts=mounts).close()
    mounts.write_text(
        "\n".join([*lines, f"24 23 0:3 / {str(share / 'local').replace(' ', chr(92) + '040')} rw - xfs /dev/b rw"])
    )
    Store.open(share / "local" / "knowledge", mounts=mounts).close()


def test_opening_twice_in_one_process_is_one_store(tmp_path):
    with Store.open(tmp_path / "k") as one, Store.open(tmp_path / "k") as two:
        assert one.identity == two.identity
        address = one.add_record("task", {"n": 1})
        assert two.record(address) == {"n": 1}
        two.add_record("task", {"n": 2})
        assert [body["n"] for _, body in one.records("task")] == [1, 2]


# Speed


def test_thousands_of_experiments_are_listed_at_once(store):
    body = {"problem": "p", "path": ["layer"] * 150, "recipe": {f"setting{n}": n / 7 for n in range(20)}}
    with store.catalogue.transaction():  # rows alone: their number is what matters here, not their files
        for n in range(2_500):
            record = Record(kind="experiment", id=str(n), body={**body, "n": n}, refs=(), fence=0, written=n)
            store.catalogue.insert(record, sizes={})
    start = time.perf_counter()
    assert sum(1 for _ in store.records("experiment")) == 2_500
    assert time.perf_counter() - start < 0.5, "0.05 s on a quiet machine"


def test_importing_the_store_imports_no_torch():
    code = "import sys, polymath.store; print(sorted({'torch', 'numpy', 'safetensors'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() in ("[]", "['numpy']")


# The contract of every store


def test_the_folder_store_keeps_the_contract(tmp_path):
    check_store(lambda: Store.open(tmp_path / "k"))
    check_objects(Folder(tmp_path / "o", temporary=tmp_path, quarantine=tmp_path / "q", sync=Sync.NOTHING))


def broken_commit(right):
    """A store that adds a record without looking whether what it names is there."""
    return lambda store, made: {ref: store.size(ref) or 0 for record in made for ref in record.refs}


def broken_fence(right):
    return lambda store, record: True


def broken_heads(right):
    return lambda self, prefix="": {name: address for name, address in right(self, prefix).items() if "ü" not in name}


def broken_put(right):
    return lambda self, data: right(self, bytes(data)[:-1])


def broken_take_in(right):
    return lambda store: None


@pytest.mark.parametrize(
    ("room", "method", "breaking"),
    [
        (writing, "sizes", broken_commit),
        (writing, "current", broken_fence),
        (Store, "heads", broken_heads),
        (Store, "put", broken_put),
        (recovery, "adopt", broken_take_in),
    ],
)
def test_the_kit_catches_a_store_that_breaks_the_contract(tmp_path, monkeypatch, room, method, breaking):
    monkeypatch.setattr(room, method, breaking(getattr(room, method)))
    with pytest.raises((AssertionError, StoreError)):
        check_store(lambda: Store.open(tmp_path / "k"))
