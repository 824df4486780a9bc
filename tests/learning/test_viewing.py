"""How many views of a picture an answer is the mean of: tried, kept if better, within the time there is."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PIL import Image

from polymath import Polymath
from polymath.learning import viewing
from polymath.learning.viewing import Viewed, best_views, most_views
from polymath.model.decode.views import VIEWS
from polymath.model.path import Path
from polymath.problem import Dataset
from polymath.search.spaces.designs import Design
from polymath.store import Store
from polymath.train.recipe import Augmentation, GradientRecipe


def recipe(**changes):
    return GradientRecipe(augmentation=Augmentation(**changes))


def net(**changes):
    return Design(method="path", path=Path(genes=(), outputs={}), recipe=recipe(**changes))


def test_only_views_that_training_has_shown():
    assert most_views([net(flip=True, turn=True)]) == 8
    assert most_views([net(flip=True)]) == 2
    assert most_views([net()]) == most_views([None]) == 1
    assert most_views([net(turn=True), net(flip=True)]) == 2


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A task of one short net on pictures that may be turned any way, its dataset and its store."""
    place, random = tmp_path_factory.mktemp("views"), np.random.default_rng(0)
    for n in range(20):
        top, left = random.integers(0, 16, 2)
        picture, label = random.integers(60, 160, (24, 24, 3)), np.zeros((24, 24))
        picture[top : top + 8, left : left + 8, 0] += 60
        label[top : top + 8, left : left + 8] = 1
        for name, array in (("images", picture), ("labels", label)):
            (place / "blots" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(place / "blots" / name / f"{n:02d}.png")
    with Polymath(place / "store") as knowledge:
        knowledge.learn(place / "blots", name="b", work=2, engine="inline", space="paths", cache=str(place / "cache"))
        record = knowledge.task("b").record
    (folder,) = [one.parent for one in (place / "cache" / "data").glob("*/dataset.json")]
    return record, Dataset.open(folder), place / "store"


def asked(learned, judge, *, ends=None, most=8):
    record, dataset, place = learned
    rows = dataset.validation(0)
    with Store.open(place) as store:
        paths = {0: Path.model_validate(record.path)}
        empty = {"labels": np.zeros((len(rows), 2, 576), np.float32)}
        first = Viewed(1, rows, empty)
        return best_views(first, paths, dataset, most=most, judge=judge, fetch=store.get_tensors, ends=ends), first


def test_as_many_views_as_are_better(learned):
    found, _ = asked(learned, lambda seen: {1: 0.5, 2: 0.6, 4: 0.6004, 8: 0.55}[seen.views])
    assert found.views == 2 and found.raw["labels"].shape == (len(found.rows), 2, 576)
    found, first = asked(learned, lambda seen: -seen.views)
    assert found is first
    found, _ = asked(learned, lambda seen: float(seen.views), most=4)
    assert found.views == 4


def test_nothing_is_tried_without_the_time(learned, monkeypatch):
    found, first = asked(learned, lambda seen: float(seen.views), ends=time.monotonic() - 1.0)
    assert found is first
    monkeypatch.setattr(viewing, "MOST_JUDGED", 2)
    found, _ = asked(learned, lambda seen: float(seen.views), ends=time.monotonic() + 1000.0)
    assert found.views == 8 and len(found.rows) == 2


def test_a_task_says_how_many_and_answers_by_them(learned, monkeypatch):
    *_, place = learned
    monkeypatch.setattr(viewing, "LEAST_GAIN", -10.0)  # whatever it is worth
    blots, folder = place.parent / "blots", str(place.parent / "cache")
    with Polymath(place) as knowledge:
        knowledge.learn(blots, name="c", work=2, seed=1, engine="inline", space="paths", cache=folder)
        record = knowledge.task("c").record
        assert record.calibration["labels"][VIEWS] == 8
        assert 0 <= knowledge.task("c").evaluate(blots)["scores"]["mean_iou"] <= 1
        page = knowledge.task("c").report(place.parent / "page.html", cache=folder).read_text()
    assert "mean over 8 views" in page
