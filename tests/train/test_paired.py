"""Views of pictures: what moves a picture moves the answers at its pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polymath.problem import Problem
from polymath.problem.features import Image, PixelMap
from polymath.problem.form import pixels
from polymath.search.choices import Recorder, first
from polymath.search.spaces.rows import problem_space
from polymath.spec import loads
from polymath.train import Context, Job
from polymath.train.augment import Augmenter
from polymath.train.paired import shown_ports, shown_size, view
from polymath.train.recipe import Augmentation, GradientRecipe
from polymath.train.rung import run

from .conftest import write_dataset

FEATURE = PixelMap(name="m", values=(0, 1, 2), shares=(0.5, 0.4, 0.1), height=24, width=32)


def batch(size=6):
    """Pictures whose grey value is the code of their class."""
    codes = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (size, 6, 8)).repeat(4, 1).repeat(4, 2))
    codes = codes.to(torch.uint8)
    return {"p": (codes * 100)[:, None]}, {"m": codes}


@pytest.mark.parametrize(
    "settings",
    [
        {"flip": True},
        {"turn": True},
        {"crop": 16, "turn": True, "focus": 0.5},
        {"zoom": 0.5, "tilt": 30.0, "warp": 2.0},
    ],
)
def test_pictures_and_answers_move_alike(settings):
    inputs, targets = batch()
    augmenter = Augmenter(Augmentation(**settings), {"p": pixels(1, 24, 32)}, {}, {"m": FEATURE})
    assert augmenter.paired and not augmenter.active
    shown, moved = augmenter.both(inputs, targets, np.random.default_rng(1))
    assert torch.equal(shown["p"][:, 0], moved["m"] * 100)
    assert tuple(moved["m"].shape[1:]) == shown_size((24, 32), Augmentation(**settings))
    assert not torch.equal(moved["m"][:, :16, :16], targets["m"][:, :16, :16]), "something moved"


def test_nothing_moves_without_augmentation():
    inputs, targets = batch()
    shown = view(np.ones((6, 24, 32), bool), None, Augmentation(), np.random.default_rng(0))
    assert torch.equal(shown(inputs["p"]), inputs["p"]) and torch.equal(shown(targets["m"]), targets["m"])


def test_light_changes_pictures_alone():
    inputs, targets = batch()
    augmenter = Augmenter(Augmentation(light=0.3), {"p": pixels(1, 24, 32)}, {}, {"m": FEATURE})
    shown, moved = augmenter.both(inputs, targets, np.random.default_rng(1))
    assert torch.equal(moved["m"], targets["m"]) and not torch.equal(shown["p"], inputs["p"].float())


def test_focus_finds_the_rare_class():
    codes = np.zeros((40, 64, 64), dtype=np.uint8)
    codes[:, 50:52, 10:12] = 1
    known = np.ones_like(codes, dtype=bool)
    random = np.random.default_rng(0)

    def found(focus):
        shown = view(known, codes, Augmentation(crop=16, focus=focus), random)
        return float((shown(torch.from_numpy(codes)).flatten(1) == 1).any(1).float().mean())

    assert found(1.0) > 0.35 and found(0.0) < 0.3


def test_parts_lie_where_something_is_known():
    known = np.zeros((10, 64, 64), dtype=bool)
    known[:, :20, :20] = True
    shown = view(known, None, Augmentation(crop=16), np.random.default_rng(0))
    assert bool(shown(torch.from_numpy(known)).flatten(1).any(1).all())


def test_ports_in_training_are_as_large_as_what_is_shown():
    ports = {"p": pixels(3, 100, 60)}
    assert shown_ports(ports, Augmentation(crop=64))["p"].size == (64, 60)
    assert shown_ports(ports, Augmentation(turn=True))["p"].size == (60, 60)
    assert shown_ports(ports, Augmentation())["p"].size == (100, 60)


def test_recipes_of_earlier_releases_keep_their_digests():
    dumped = loads(GradientRecipe().to_json())
    assert "loss" not in dumped and set(dumped["augmentation"]) == {
        "flip", "shift", "cutout", "mixup", "drop_tokens", "drop_columns",
    }  # fmt: skip
    recipe = GradientRecipe(loss={"rare": 0.5}, augmentation=Augmentation(crop=32))
    assert GradientRecipe.from_json(recipe.to_json()) == recipe


def test_a_net_learns_from_parts_and_judges_whole_pictures(tmp_path):
    random = np.random.default_rng(0)
    codes = random.integers(0, 2, (12, 6, 84)).repeat(4, 1).repeat(4, 2).astype(np.uint8)
    image = Image(name="p", fit="canvas", height=24, width=336, channels=1, mean=(90.0,), deviation=(80.0,))
    output = PixelMap(name="m", values=(0, 1), shares=(0.5, 0.5), height=24, width=336)
    problem = Problem(name="x", inputs=(image,), outputs=(output,), constants={"m": {"mean_iou": 0.3}})
    arrays = {"input p": codes[:, None] * np.uint8(180), "target m": codes}
    dataset = write_dataset(tmp_path / "data", problem, arrays, np.arange(12) % 4)
    path, recipe = problem_space(Recorder(first), problem, rows=9)
    assert recipe.augmentation.crop and recipe.augmentation.turn and set(recipe.loss) == {"overlap", "rare"}
    ports = shown_ports(problem.ports, recipe.augmentation)
    job = Job(
        dataset=dataset.digest,
        path=path,
        recipe=recipe,
        folds=(0,),
        rate=(1.0, 0.0),
        work=3e-9 * 160 * path.work(ports),
    )
    outcome = run(job, Context(dataset_folder=str(dataset.folder), scratch=str(tmp_path / "scratch")))
    assert outcome.ok, outcome.reason
    assert outcome.scores["m"]["mean_iou"] > 0.5
    assert outcome.work == pytest.approx(job.work, rel=0.3)


def test_what_is_turned_is_square_however_wide_the_picture():
    assert shown_size((128, 512), Augmentation(turn=True, crop=256)) == (128, 128)
    assert shown_size((128, 512), Augmentation(crop=256)) == (128, 256)
    assert shown_size((128, 512), Augmentation()) == (128, 512)
