"""Batches, their order and their augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polymath.problem.form import pixels, tokens, vector
from polymath.train import Augmentation
from polymath.train.augment import Augmenter, cut_out, drop_columns, drop_tokens, move
from polymath.train.batches import Order, Source, counter_random, evaluation_size, sample

CPU = torch.device("cpu")


def test_an_epoch_sees_every_row_once_and_any_step_can_be_asked_first():
    rows = np.arange(100, 140)
    order = Order(rows, batch=8, seed=3)
    seen = np.concatenate([order(step) for step in range(5)])
    assert sorted(seen) == rows.tolist() and seen.tolist() != rows.tolist()
    later = order(7).copy()
    assert np.array_equal(Order(rows, batch=8, seed=3)(7), later)
    assert not np.array_equal(Order(rows, batch=8, seed=4)(7), later)
    assert not np.array_equal(order(0), order(5))  # the next epoch is dealt anew


def test_few_rows_make_a_small_batch():
    assert len(Order(np.arange(3), batch=128, seed=0)(11)) == 3


def test_ids_above_the_signed_range_survive(tmp_path):
    ids = np.array([[1, 40_000], [65_535, 2]], dtype=np.uint16)
    np.save(tmp_path / "ids.npy", ids)
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    batch = Source({"text": mapped}, {"y": np.array([0.5, np.nan])}, weights=np.array([1.0, 2.0]), device=CPU)
    got = batch.batch(np.array([1, 0]))
    assert got.inputs["text"].tolist() == [[65_535, 2], [1, 40_000]]
    assert got.weights.tolist() == [2.0, 1.0] and torch.isnan(got.targets["y"][0])


def test_moving_shifts_and_mirrors_whole_images():
    x = torch.arange(64 * 2 * 6 * 5, dtype=torch.int32).reshape(64, 2, 6, 5)
    assert torch.equal(move(x, counter_random(0), flip=False, shift=0), x)
    flipped = move(x, counter_random(1), flip=True, shift=0)
    same = (flipped == x).flatten(1).all(1)
    assert torch.equal(flipped[~same], x[~same].flip(3)) and 10 < int(same.sum()) < 54
    moved = move(x, counter_random(2), flip=False, shift=2)
    padded = torch.nn.functional.pad(x.double(), (2, 2, 2, 2), mode="reflect").int()
    for one, image in zip(moved, padded, strict=True):
        windows = [image[:, i : i + 6, j : j + 5] for i in range(5) for j in range(5)]
        assert any(torch.equal(one, window) for window in windows)
    assert len({tuple(one.flatten().tolist()) for one in moved - x}) > 10


def test_cutting_out_fills_a_square():
    x = torch.full((32, 3, 9, 9), 100, dtype=torch.uint8)
    cut = cut_out(x, counter_random(0), side=3, fill=torch.tensor([1.0, 2.0, 3.0]))
    holes = (cut != 100).all(1).flatten(1).sum(1)
    assert cut.dtype == torch.uint8 and int(holes.max()) == 9 and int(holes.min()) >= 4
    assert set(cut[:, 2].unique().tolist()) == {3, 100}


def test_dropping():
    ids = torch.ones(200, 10, dtype=torch.int64)
    dropped = drop_tokens(ids, counter_random(0), share=0.3)
    assert dropped[:, 0].all() and 0.2 < float((dropped[:, 1:] == 0).float().mean()) < 0.4
    row = drop_columns(torch.ones(200, 2), counter_random(0), share=0.5, categories=(0, 4))
    assert 60 < int(row[:, 0].isnan().sum()) < 140 and not row[:, 1].isnan().any()
    assert 60 < int((row[:, 1] == 0).sum()) < 140


@pytest.mark.parametrize(
    ("ports", "augmentation", "active"),
    [
        ({"image": pixels(3, 8, 8)}, Augmentation(), False),
        ({"image": pixels(3, 8, 8)}, Augmentation(shift=2), True),
        ({"row": vector(3)}, Augmentation(shift=2, flip=True, mixup=0.2), False),
        ({"text": tokens(8, vocabulary=9)}, Augmentation(drop_tokens=0.1), True),
    ],
)
def test_what_does_not_apply_is_off(ports, augmentation, active):
    assert Augmenter(augmentation, ports, {}).active == active


def test_mixup_blends_pairs():
    x = torch.rand(16, 1, 4, 4) * 255
    mixed, mix = Augmenter(Augmentation(mixup=0.5), {"image": pixels(1, 4, 4)}, {})({"image": x}, counter_random(5))
    expected = mix.share * x + (1 - mix.share) * x[mix.other]
    assert torch.allclose(mixed["image"], expected, atol=1e-3) and 0 < mix.share < 1


def test_samples_and_sizes():
    rows = np.arange(0, 1000, 2)
    drawn = sample(rows, size=50, seed=1)
    assert len(set(drawn.tolist())) == 50 and set(drawn) <= set(rows) and (np.diff(drawn) > 0).all()
    assert evaluation_size(1) == 4096 and evaluation_size(1e8) == 64 and evaluation_size(1e9) == 12


def test_rows_of_like_length_make_a_batch():
    lengths = np.random.default_rng(0).integers(1, 60, 1_000)
    rows = np.arange(2_000, 3_000)
    order, plain = Order(rows, batch=16, seed=3, lengths=lengths), Order(rows, batch=16, seed=3)
    batches = [order(step) for step in range(order.steps_per_epoch)]
    seen = np.concatenate(batches)
    assert len(np.unique(seen)) == len(seen) == 16 * order.steps_per_epoch, "every row at most once in an epoch"

    def padding(batches):
        return np.mean([lengths[b - 2_000].max() - lengths[b - 2_000].mean() for b in batches])

    assert padding(batches) < 0.2 * padding([plain(step) for step in range(plain.steps_per_epoch)])
    assert np.array_equal(Order(rows, batch=16, seed=3, lengths=lengths)(75), order(75)), "any step is found at once"
    assert not np.array_equal(np.sort(order(0)), np.sort(order(order.steps_per_epoch))), "every epoch has other batches"
