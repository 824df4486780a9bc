"""A store whose objects and records lie in a bucket keeps the same contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from polymath.store import CorruptObject, Store, StoreError, backup, cloud, merge, verify
from polymath.store.kit import check_objects, check_store

obstore = pytest.importorskip("obstore", reason="the extra `cloud` is not installed")
from obstore.store import LocalStore, MemoryStore  # noqa: E402


@pytest.fixture(params=["memory", "folder"])
def bucket(request, tmp_path):
    return MemoryStore() if request.param == "memory" else LocalStore(tmp_path / "bucket", mkdir=True)


def opened(path: Path, bucket) -> Store:
    return Store.open(path, places=(cloud.Bucket(bucket, "k/objects"), cloud.Bucket(bucket, "k/records")))


def test_a_bucket_keeps_the_contract(bucket, tmp_path):
    check_objects(cloud.Bucket(bucket, "alone"))
    check_store(lambda: opened(tmp_path / "k", bucket))


def test_the_folder_can_be_lost(bucket, tmp_path):
    with opened(tmp_path / "k", bucket) as store:
        layer = store.put(b"layer")
        address = store.add_record("task", {"n": 1}, refs=[layer])
        store.set_head("task/x", address)
    with opened(tmp_path / "new", bucket) as store:
        assert store.head("task/x") == address and store.get(layer) == b"layer"
        backup(store, tmp_path / "backup")
    with Store.open(tmp_path / "local") as local:
        merge(local, tmp_path / "backup")
        assert local.get(layer) == b"layer" and local.head("task/x") == address


def test_what_is_damaged_in_a_bucket_is_not_served(bucket, tmp_path):
    with opened(tmp_path / "k", bucket) as store:
        layer = store.put(b"layer")
        store.add_record("task", {"n": 1}, refs=[layer])
        obstore.put(bucket, f"k/objects/{layer[:2]}/{layer}", b"lAyer")
        with pytest.raises(CorruptObject):
            store.get(layer)
        assert verify(store, level="full").exit_status == 1
        obstore.put(bucket, f"k/objects/{layer[:2]}/{layer}", b"lay")
        assert store.put(b"layer") == layer and store.get(layer) == b"layer", "put again it is healed"


def test_a_service_that_fails_is_one_clear_error(tmp_path):
    place = cloud.Bucket(LocalStore(tmp_path), "x")
    (tmp_path / "x").write_text("not a folder")
    with pytest.raises(StoreError, match="in the bucket"):
        place.put([b"layer"])
