"""What somebody at the command line meets when a store is not as it should be: one clear line, and nothing lost."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from polymath.app import commands
from polymath.spec import BadInput
from polymath.store import Store, StoreError, locks, merge
from polymath.store.errors import from_os


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "k") as store:
        layer = store.put(b"weights")
        for number in range(7):
            record = store.add_record("task", {"name": f"flowers {number}"}, refs=[layer])
            store.set_head(f"task/flowers {number}", record)
    return tmp_path / "k"


def lost(path: Path) -> str:
    """The address of the one layer, whose file is removed."""
    (file,) = (path / "objects").glob("*/*")
    file.unlink()
    return file.name


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_store_that_cannot_be_written_is_read(path, monkeypatch, number):
    def refused(self: locks.Presence) -> None:
        raise from_os(OSError(number, "no"), "Locking")

    monkeypatch.setattr(locks.Presence, "_enter", refused)
    with commands.opened(path) as knowledge:
        assert knowledge.store.read_only and len(knowledge.store.heads("task/")) == 7
        with pytest.raises(StoreError, match="nothing can be written there"):
            knowledge.store.tombstone(knowledge.store.head("task/flowers 1"))


def test_other_failures_are_not_taken_for_that(path, monkeypatch):
    def full(self: locks.Presence) -> None:
        raise from_os(OSError(errno.ENOSPC, "full"), "Locking")

    monkeypatch.setattr(locks.Presence, "_enter", full)
    with pytest.raises(StoreError, match="Free some space"):
        commands.opened(path)


def test_what_is_missing_is_named_with_the_tasks_that_need_it_and_comes_back(path, tmp_path, capsys):
    with Store.open(path) as store:
        from polymath.store import backup

        backup(store, tmp_path / "backup")
    address = lost(path)
    assert commands.verify("quick", store=path, as_json=False) == 2
    said = capsys.readouterr().out
    assert f"missing: {address}: it is not in the store; needed by task flowers 0, task flowers 1" in said
    assert "and 2 more" in said and "`polymath merge BACKUP`" in said
    with Store.open(path) as store:
        with pytest.raises(StoreError, match="polymath merge BACKUP"):
            store.get(address)
        merge(store, tmp_path / "backup")
        assert store.get(address) == b"weights"
    assert commands.verify("full", store=path, as_json=False) == 0


def test_the_catalogue_is_moved_by_name(path, capsys):
    with pytest.raises(BadInput, match="no address of a PostgreSQL database"):
        commands.rebuild("elsewhere", store=path, as_json=False)
    commands.rebuild("folder", store=path, as_json=True)
    assert json.loads(capsys.readouterr().out)["records"] == 14
    assert not (path / "store.json").exists()


def test_a_server_that_is_not_there_changes_nothing(path):
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError, match=r"Is the server there\?"):
        commands.rebuild("postgresql:///k?host=/nowhere", store=path, as_json=False)
    with commands.opened(path) as knowledge:
        assert len(knowledge.store.heads("task/")) == 7 and not (path / "store.json").exists()
