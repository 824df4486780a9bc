"""The contract of a store, as checks that any kind of place must pass: `polymath.testing.check_store`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..spec import sha256
from .collect import collect
from .errors import MissingObject, StoreError
from .objects import Objects
from .records import Draft
from .store import Store
from .verify import rebuild, verify


class _Death(BaseException):
    """Stands for the end of a process in the middle of something."""


def check_store(make: Callable[[], Store]) -> None:
    """Hold a kind of store to the contract. `make` opens the same store each time, as another process would; it is
    empty the first time. Raises AssertionError with the promise that was broken.
    """
    with make() as store, make() as other:
        check_objects(store.objects)
        _check_tensors(store)
        _check_records(store, other)
        _check_heads(store, other)
        _check_leases(store, other)
        _check_tombstones(store, other)
        _check_crashes(store, make)
    with make() as store:
        _check_collecting(store, make)
        before = _seen(store)
        rebuild(store)
        assert _seen(store) == before, "the catalogue can be made anew from the records"
        assert verify(store, level="full").exit_status == 0, "a store that nothing happened to is sound"


def check_objects(objects: Objects) -> None:
    """Hold a place for bytes to its part of the contract."""
    for data in (b"", b"x", bytes(range(256)) * 3000):
        address = objects.put([data])
        assert address == sha256(data) == objects.put([memoryview(data)[:1], data[1:]]), "the address is the SHA-256"
        assert bytes(objects.read(address)) == data and objects.size(address) == len(data), "bytes come back"
        assert objects.keep(address), "what is here can be kept"
    assert objects.beginning(address, 3) == bytes(range(3)) and objects.beginning(address, 1 << 30) == data
    some = {sha256(data): [data] for data in (b"one", b"two", b"three")}
    objects.put_all(some)
    found = list(objects.addresses())
    assert found == sorted(set(found)) and set(some) < set(found), "every address once, in order"
    assert set(objects.addresses(but={found[0][:2]})) == {one for one in found if one[:2] != found[0][:2]}
    assert set(objects.shelves()) <= {one[:2] for one in found}, "shelves are where objects are"
    lost = sha256(b"never put")
    assert objects.size(lost) is None and not objects.keep(lost), "what is not here has no size"
    _raises(MissingObject, lambda: objects.read(lost), "what is not here is missing")
    assert objects.remove(lost), "removing what is gone is no error"
    for wrong in ("", "../x", "A" * 64, "0" * 63):
        _raises(ValueError, lambda wrong=wrong: objects.size(wrong), "only addresses are names of objects")  # type: ignore[misc]
    address = sha256(b"two")
    assert not objects.remove(address, older_than=3600) and objects.size(address) == 3, "what is young stays"
    assert objects.remove(address) and objects.size(address) is None, "what is removed is gone"
    objects.set_aside(sha256(b"three"))
    assert objects.size(sha256(b"three")) is None, "what is set aside is no longer served"
    assert objects.put([b"two"]) == address and bytes(objects.read(address)) == b"two", "and can be put again"


def _check_tensors(store: Store) -> None:
    assert store.get(store.put(b"bytes")) == b"bytes" and store.has(sha256(b"bytes")), "bytes come back"
    tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array([True, False])}
    address = store.put_tensors(tensors)
    back = store.get_tensors(address)
    assert list(back) == ["a", "b"] and all(np.array_equal(back[name], tensors[name]) for name in back)
    assert store.put_tensors(dict(reversed(tensors.items()))) == address, "equal tensors are stored once"
    bad = store.put_tensors({"w": np.array([np.nan])})
    _raises(StoreError, lambda: store.get_tensors(bad, finite=True), "weights that are no numbers are refused if asked")


def _check_records(store: Store, other: Store) -> None:
    layer = store.put(b"layer")
    first = store.add_record("kit", {"n": 1}, refs=[layer], id="x")
    assert other.record(first) == {"n": 1} and other.find("kit", "x") == first, "others see a record at once"
    assert store.add_record("kit", {"n": 1}, refs=[layer], id="x") == first, "the same again is the same record"
    second = other.add_record("kit", {"n": 2}, refs=[layer], id="x")
    assert store.find("kit", "x") == second and store.record(first) == {"n": 1}, "the later counts, the earlier stays"
    many = store.add_records([Draft(kind="row", body={"n": n}) for n in range(5)])
    assert [address for address, _ in other.records("row")] == many, "records are listed in the order of writing"
    assert other.entry(second).refs == (layer,) and ("kit", "x") in other.dependents(layer)
    lost = "f" * 64
    drafts = [Draft(kind="row", body={"n": 5}), Draft(kind="row", body={"n": 6}, refs=[lost])]
    _raises(MissingObject, lambda: store.add_records(drafts), "a record needs what it names")
    assert len(list(store.records("row"))) == 5, "all records of one step, or none"
    _raises(ValueError, lambda: store.add_record("head", {}), "some kinds are the store's own")


def _check_heads(store: Store, other: Store) -> None:
    a, b = (store.add_record("kit", {"head": n}) for n in range(2))
    for address in (a, b, a):
        store.set_head("kit/ünï", address)
        assert other.head("kit/ünï") == address, "a name means what it was last given"
    version = store.version()
    assert store.version() == version, "reading changes nothing"
    other.set_head("kit/b", b)
    assert version is None or store.version() != version, "what others change is seen"
    assert store.heads("kit/") == {"kit/b": b, "kit/ünï": a} and store.head("kit/") is None
    _raises(MissingObject, lambda: store.set_head("kit/x", "0" * 64), "a name means a record that is there")


def _check_leases(store: Store, other: Store) -> None:
    slow = store.claim("kit trial", "slow")
    assert slow is not None and other.claim("kit trial", "other") is None, "a trial that is held is not given twice"
    fast = other.claim("kit trial", "fast", takeover=True)
    assert fast is not None and fast > slow, "fences grow"
    assert other.renew("kit trial", fast, progress=1) and not store.renew("kit trial", slow, progress=9)
    assert store.finish("kit trial", slow, {"by": "slow"}, kind="kit") is None, "who lost the trial does not finish it"
    address = other.finish("kit trial", fast, {"by": "fast"}, kind="kit")
    assert address is not None and store.find("kit", "kit trial") == address, "who holds it does"
    assert other.finish("kit trial", fast, {"by": "fast"}, kind="kit") == address, "finishing again is harmless"
    assert [body["body"]["by"] for _, body in store.records("late")] == ["slow"], "what came late is kept apart"


def _check_tombstones(store: Store, other: Store) -> None:
    old, new = (store.add_record("kit", {"version": n}) for n in range(2))
    store.set_head("kit/gone", old)
    store.set_head("kit/gone", new)
    other.tombstone(new, reason="kit")
    assert store.head("kit/gone") == old, "the version before counts again"
    store.tombstone(old)
    assert other.head("kit/gone") is None and not {old, new} & {one for one, _ in other.records("kit")}
    again = store.add_record("kit", {"version": 1})
    assert again not in (old, new) and other.record(again) == {"version": 1}, "it can be learned again"


def _check_crashes(store: Store, make: Callable[[], Store]) -> None:
    """A process may end between any two steps of a write; here an exception that nobody catches stands for that."""
    before = _seen(store)
    for name in ("objects.put", "record_files.put_all", "catalogue.transaction"):
        for after in (False, True) if name != "catalogue.transaction" else (False,):
            with make() as dying:
                room, method = name.split(".")
                _die_at(getattr(dying, room), method, after=after)
                try:
                    dying.add_record("kit", {"crash": f"{name} {after}"}, refs=[dying.put(name.encode())])
                except _Death:
                    pass
                else:
                    raise AssertionError("the kit itself is wrong: nothing died")
            with make() as reopened:
                now = _seen(reopened)
                fresh = [body for _, body in now["kit"] if "crash" in body]
                assert all(reopened.size(ref) is not None for ref in _needed(reopened)), "what is named is there"
                assert verify(reopened, level="full").exit_status == 0, f"a death at {name} leaves a sound store"
                assert [one for one in now["kit"] if "crash" not in one[1]] == [
                    one for one in before["kit"] if "crash" not in one[1]
                ], "what was there stays"
                assert len(fresh) <= 3 and now["heads"] == before["heads"], "a record is whole or absent"


def _die_at(room: Any, method: str, *, after: bool) -> None:
    right = getattr(room, method)

    def wrong(*args: Any, **kwargs: Any) -> Any:
        if after:
            right(*args, **kwargs)
        raise _Death

    setattr(room, method, wrong)


def _check_collecting(store: Store, make: Callable[[], Store]) -> None:
    shared, own = store.put(b"shared by two"), store.put(b"used by one")
    kept = store.add_record("kit", {"kept": True}, refs=[shared])
    gone = store.add_record("kit", {"kept": False}, refs=[shared, own])
    store.set_head("kit/collected", gone)
    unnamed = store.put(b"about to get its record")
    store.tombstone(gone)
    with make():
        assert collect(store).waiting > 0 and store.has(unnamed), "beside others, what is young is left alone"
    before = _seen(store)
    done = collect(store)
    assert done.objects >= 2 and done.records >= 0 and not store.has(own) and not store.has(unnamed)
    assert store.has(shared) and store.record(kept) == {"kept": True} and _seen(store) == before, "what lives stays"
    assert verify(store, level="full").exit_status == 0 and collect(store).objects == 0


def _needed(store: Store) -> set[str]:
    return set(itertools.chain.from_iterable(store.entry(address).refs for address, _ in store.records("kit")))


def _seen(store: Store) -> dict[str, Any]:
    return {**{kind: list(store.records(kind)) for kind in ("kit", "row", "late")}, "heads": store.heads()}


def _raises(error: type[Exception], call: Callable[[], object], promise: str) -> None:
    try:
        call()
    except error:
        return
    raise AssertionError(promise)
