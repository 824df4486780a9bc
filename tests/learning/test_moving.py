"""Other views of a picture: paths of their own with the same weights, kept where the answers are better by them."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from PIL import Image

from polymath import Polymath
from polymath.learning import moving, study
from polymath.learning.moving import Trial, best_moves, moves_of, with_moves
from polymath.learning.viewing import Viewed
from polymath.model.build import build
from polymath.model.combine import Member, merge, parted
from polymath.model.layers.moved import Moved
from polymath.model.moving import moved, moves
from polymath.model.path import Path
from polymath.model.prefix import prefixes
from polymath.problem import Dataset
from polymath.problem.form import pixels
from polymath.search.spaces.designs import Design
from polymath.store import Store
from polymath.train.recipe import Augmentation, GradientRecipe

MIRROR, CORNER = Moved(mirror=True), Moved(down=-1, right=-1)


def net(**changes):
    recipe = GradientRecipe(augmentation=Augmentation(**changes))
    return Design(method="path", path=Path(genes=(), outputs={}), recipe=recipe)


def test_pixels_move_and_the_border_mirrors_what_is_inside():
    picture = torch.arange(6, dtype=torch.uint8).view(1, 1, 2, 3)
    see = {move: move.build(pixels(1, 2, 3))(picture)[0, 0].tolist() for move in (MIRROR, CORNER, Moved(down=1))}
    assert see[MIRROR] == [[2, 1, 0], [5, 4, 3]]
    assert see[CORNER] == [[4, 5, 4], [1, 2, 1]]
    assert see[Moved(down=1)] == [[3, 4, 5], [0, 1, 2]]
    assert Moved().form(pixels(1, 2, 3)) == pixels(1, 2, 3)


def test_only_views_that_training_has_shown():
    assert moves_of(net()) == moves_of(None) == ((), ())
    assert moves_of(net(flip=True)) == ((MIRROR,), (MIRROR,))
    assert moves_of(net(shift=2)) == ((), (CORNER, Moved(down=1, right=1)))
    assert moves_of(net(flip=True, shift=2))[1] == (MIRROR, CORNER, Moved(mirror=True, down=1, right=1))


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A task of one short net that tells dark from bright pictures, its dataset and its store."""
    place, random = tmp_path_factory.mktemp("moving"), np.random.default_rng(0)
    for n in range(60):
        picture = random.integers(0, 256, (12, 12, 3)) // (1 + n % 2)
        folder = place / "shades" / ("bright", "dark")[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{n:02d}.png")

    def taken(trial, *, tries, judge, ends):
        return best_moves(trial, tries=tries, judge=lambda seen: (sum(map(len, seen.moves.values())),), ends=ends)

    with Polymath(place / "store") as knowledge, pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "best_moves", taken)
        patch.setattr(moving, "MOST_PASSES", 100)
        given = {"work": 15, "engine": "inline", "space": "families", "cache": str(place / "cache")}
        knowledge.learn(place / "shades", name="s", **given)
    (folder,) = [one.parent for one in (place / "cache" / "data").glob("*/dataset.json")]
    return Dataset.open(folder), place


def test_a_task_answers_by_the_mean_over_views(learned):
    dataset, place = learned
    with Polymath(place / "store") as knowledge:
        path = Path.model_validate(knowledge.task("s").record.path)
        assert moves(path)
        assert knowledge.task("s").evaluate(place / "shades")["scores"]["accuracy"] > 0.5
    parts, _ = parted(path)
    assert all(not moves(one) for part in parts for one in part.paths) and any(part.moves for part in parts)
    assert all(not moves(one) for one in prefixes(path, dataset.problem.all_ports))


def test_views_share_all_weights(learned):
    dataset, place = learned
    with Store.open(place / "store") as store, Polymath(place / "store") as knowledge:
        part = parted(Path.model_validate(knowledge.task("s").record.path))[0][0]
        one, ports = part.paths[0], dataset.problem.all_ports
        assert moved(one, MIRROR, pictures={"image"}).addresses == one.addresses
        plain, mirrored = (
            build(path, ports, fetch=store.get_tensors).eval() for path in (one, moved(one, MIRROR, pictures={"image"}))
        )
        picture = torch.from_numpy(np.array(dataset.inputs["image"][:4]))
        assert torch.equal(mirrored({"image": picture})["label"], plain({"image": picture.flip(3)})["label"])


def trial(learned, store, knowledge):
    dataset, _ = learned
    part = parted(Path.model_validate(knowledge.task("s").record.path))[0][0]
    rows = np.concatenate([dataset.validation(fold) for fold in range(dataset.num_folds)])
    raw = {"label": np.zeros((len(rows), 2), np.float32)}
    member = Member(0, 0.0, raw, part.paths)
    return Trial(Viewed(1, rows, raw), [member], {0: 1.0}, dataset, store.get_tensors), member


def test_taken_where_nothing_is_much_worse_and_something_better(learned, monkeypatch):
    monkeypatch.setattr(moving, "MOST_PASSES", 100)
    tries = [{0: (MIRROR,)}, {0: (MIRROR, CORNER)}]
    with Store.open(learned[1] / "store") as store, Polymath(learned[1] / "store") as knowledge:
        asked, member = trial(learned, store, knowledge)

        def best(*scores, ends=None):
            given = iter(scores)
            return best_moves(asked, tries=tries, judge=lambda _: next(given), ends=ends)

        assert best((0.8, -0.5), (0.8, -0.4), (0.79, -0.3)).moves == tries[0]
        assert best((0.8, -0.5), (0.7, -0.4), (0.81, -0.5)).moves == tries[1]
        assert best((0.8, -0.5), (0.8, -0.5), (0.8, -0.5)) is asked.plain
        assert best((0.8, -0.5), (0.81, -0.501), (0.82, -0.51)).moves == tries[0]
        assert best(ends=time.monotonic() - 1) is asked.plain
        monkeypatch.setattr(moving, "MOST_PASSES", 2 * len(member.paths))
        assert best((0.8,), (0.9,)).moves == tries[0]
        path = merge([with_moves(member, (MIRROR,), learned[0])], {0: 1.0}, learned[0].problem.outputs)
        seen = best((0.8,), (0.9,))
        row = seen.rows[:1]
        module = build(path, learned[0].problem.all_ports, fetch=store.get_tensors).eval()
        assert set(seen.raw) == set(module({"image": torch.from_numpy(np.array(learned[0].inputs["image"][row]))}))
