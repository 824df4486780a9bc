"""The cache of decoded data forgets what was not used for long, and nothing that is in use."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from polymath.problem import Category, Dataset, Image, Number, Problem
from polymath.problem.features._pictures import as_png
from polymath.problem.sources import read
from polymath.problem.sources.eviction import evict, folders
from polymath.problem.sources.rows import Origins, Rows

DAY = 86_400
PICTURES = [as_png(picture) for picture in np.random.default_rng(0).integers(0, 256, (20, 6, 5), dtype=np.uint8)]
TABLE = pa.table({"x": np.arange(20.0), "picture": PICTURES, "y": ["a", "b"] * 10})
PROBLEM = Problem(name="p", inputs=(Number(name="x"), Image(name="picture")), outputs=(Category(name="y"),))


def built(cache: Path, content: str) -> Dataset:
    rows = Rows(TABLE, "memory", content * 64, Origins(("data.csv",)))
    return Dataset.build(rows, PROBLEM, np.arange(20) % 5, cache)


def not_used_for(days: float, *files: Path) -> None:
    for file in files:
        os.utime(file, (time.time() - days * DAY,) * 2)


def encoded(cache: Path) -> set[Path]:
    return set((cache / "encoded").iterdir())


def test_what_was_not_used_for_a_month_goes_when_something_new_is_built(tmp_path: Path) -> None:
    old = built(tmp_path, "a").folder
    its_pictures = encoded(tmp_path)
    younger = built(tmp_path, "b").folder
    not_used_for(31, old / "dataset.json", *its_pictures)
    not_used_for(29, younger / "dataset.json")
    newest = built(tmp_path, "c").folder
    assert not old.exists()
    assert not its_pictures & encoded(tmp_path)
    assert younger.exists()
    assert newest.exists()
    assert len(encoded(tmp_path)) == 4, "the features of the two that stay"


def test_using_it_again_keeps_it_with_the_features_it_needs(tmp_path: Path) -> None:
    old = built(tmp_path, "a").folder
    not_used_for(31, old / "dataset.json", *encoded(tmp_path))
    built(tmp_path, "a")
    built(tmp_path, "b")
    assert Dataset.open(old).inputs["picture"].shape == (20, 1, 6, 5)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not tell what is mapped")
def test_what_a_process_has_mapped_stays(tmp_path: Path) -> None:
    held = built(tmp_path, "a")
    not_used_for(31, held.folder / "dataset.json", *encoded(tmp_path))
    built(tmp_path, "b")
    assert Dataset.open(held.folder).folds.tolist() == held.folds.tolist()
    del held
    built(tmp_path, "c")
    assert len(folders(tmp_path, "dataset.json")) == 2


def test_beyond_the_room_the_least_recently_used_go_but_nothing_of_today(tmp_path: Path) -> None:
    for number, days in enumerate([0.5, 2, 4, 3]):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "data").write_bytes(bytes(100))
        (tmp_path / str(number) / "note").touch()
        not_used_for(days, tmp_path / str(number) / "note")
    gone = evict(folders(tmp_path, "note"), most_bytes=250)
    assert sorted(entry.note.parent.name for entry in gone) == ["2", "3"]
    assert not evict(folders(tmp_path, "note"), most_bytes=100)[1:]
    assert [entry.note.parent.name for entry in folders(tmp_path, "note")] == ["0"]
    assert not evict(folders(tmp_path, "note"), most_bytes=0)


def test_large_tables_in_the_cache_are_bounded_too(tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text("x,y\n" + "1.5,a\n2.5,b\n" * 50)
    read(tmp_path / "one.csv", memory_bytes=1_000, cache=tmp_path / "cache")
    (first,) = folders(tmp_path / "cache" / "rows", "tally.json")
    not_used_for(31, first.note)
    rows = read(tmp_path / "two.csv", memory_bytes=1_000, cache=tmp_path / "cache")
    assert len(rows) == 100
    assert [one.note for one in folders(tmp_path / "cache" / "rows", "tally.json")] != [first.note]
    assert not first.note.exists()
