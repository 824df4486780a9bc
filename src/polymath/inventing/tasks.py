"""The exercises: those a search sees, and those that judge what it found. They share no data.

All data ship with Python or scikit-learn. Search: Python source text and the picture `china.jpg`; MLPs and a plain
recurrent net. Judging: digits, breast cancer, diabetes, the picture `flower.jpg`, the manual's text and made-up
problems; deeper MLPs, convolutions, LSTM, transformer, autoencoders, a quadratic, a factorisation. Lengths are such
that AdamW still gains by going on: where held-out loss no longer falls, steps to a target mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from .exercises import (
    Convolutions,
    Exercise,
    Loss,
    Mlp,
    Recurrent,
    Shape,
    Transformer,
    Weights,
    cross_entropy,
    embedded,
    linear,
    squared,
)

LETTERS = " etaonisrhldcupmfgwybvkxjqz()_.\n"
"""32 symbols: enough for text without capitals and digits; whatever else is a blank."""
SHORT, LONG = 150, 300
"""Steps of an exercise of a search, and of a judging one unless it says otherwise."""
FEW = 16
"""Rows of a batch in the first rung, where every experiment passes: noisy, and quicker by a fourth."""


Rows = tuple[Tensor, ...]
Halves = tuple[Rows, Rows]
"""What is learned from, and what is held out."""


# Data -------------------------------------------------------------------------------------------------------------
def _split(*columns: np.ndarray, seed: int = 0) -> Halves:
    """Three quarters to learn from, the rest to be judged by; mixed."""
    order = np.random.default_rng(seed).permutation(len(columns[0]))
    cut = len(order) * 3 // 4
    made = [torch.from_numpy(np.ascontiguousarray(column)) for column in columns]
    made = [one.float() if one.is_floating_point() else one.long() for one in made]
    index = torch.from_numpy(order)
    return tuple(one[index[:cut]] for one in made), tuple(one[index[cut:]] for one in made)


def _table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Columns of mean 0 and deviation 1, and the target."""
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    rows = found.data.astype(np.float32)
    return (rows - rows.mean(0)) / (rows.std(0) + 1e-6), found.target


def _letters(text: str) -> np.ndarray:
    known = {letter: number for number, letter in enumerate(LETTERS)}
    return np.array([known.get(letter, 0) for letter in text.lower()], dtype=np.int64)


def _windows(tokens: np.ndarray, length: int) -> Halves:
    """Windows of `length` + 1 tokens; those of the last quarter of the text are held out."""
    windows = torch.from_numpy(tokens).unfold(0, length + 1, 3)
    cut = len(windows) * 3 // 4
    held = windows[cut + length :]
    mixed = torch.randperm(len(held), generator=torch.Generator().manual_seed(0))
    return (windows[:cut],), (held[mixed],)


def _source() -> np.ndarray:
    """Source text of Python's own library."""
    import argparse
    import difflib
    import inspect

    return _letters(inspect.getsource(difflib) + inspect.getsource(argparse))


def _manual() -> str:
    """Topics of Python's manual."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def _picture(name: str) -> np.ndarray:
    """A photograph at half its size, height x width x 3, in 0..1."""
    from sklearn.datasets import load_sample_image

    pixels = load_sample_image(name)[: 2 * 213, :].astype(np.float32) / 255
    return np.asarray(pixels.reshape(213, 2, 320, 2, 3).mean((1, 3)))


def _squares(name: str, side: int, count: int) -> np.ndarray:
    """Square pieces of a photograph, no two at the same place: [count, side, side, 3]."""
    pixels = _picture(name)
    size = (pixels.shape[0] - side, pixels.shape[1] - side)
    places = np.random.default_rng(0).permutation(size[0] * size[1])[:count]
    return np.stack([pixels[t : t + side, x : x + side] for t, x in zip(*np.unravel_index(places, size), strict=True)])


# Losses -----------------------------------------------------------------------------------------------------------
Net = Mlp | Convolutions | Recurrent | Transformer


def _classifies(net: Net) -> Loss:
    return lambda weights, batch: cross_entropy(net(weights, batch[0]), batch[1])


def _foretells(net: Net) -> Loss:
    """A number for each row, or several."""
    return lambda weights, batch: squared(net(weights, batch[0]), batch[1])


def _repeats(net: Net) -> Loss:
    """An autoencoder."""
    return lambda weights, batch: squared(net(weights, batch[0]), batch[0])


def _continues(net: Net) -> Loss:
    """The next token at every place."""
    return lambda weights, batch: cross_entropy(net(weights, batch[0][:, :, :-1]), batch[0][:, :, 1:])


def _of(
    name: str, data: str, net: Net, loss: Callable[[Net], Loss], halves: Halves, *, steps: int, batch: int = 32
) -> Exercise:
    train, held = halves
    return Exercise(name, data, net.shapes(), loss(net), train, held, steps, batch)


# The search's own -------------------------------------------------------------------------------------------------
def _next_letter(context: int, widths: tuple[int, ...]) -> Exercise:
    """The letter after some letters, by an MLP on their embeddings (Bengio et al. 2003)."""
    width, words = 6, len(LETTERS)
    net = Mlp((context * width, *widths, words))

    def loss(weights: Weights, batch: Rows) -> Tensor:
        seen = embedded(weights[0], batch[0][:, :, :-1]).flatten(2)
        return cross_entropy(net(weights[1:], seen), batch[0][:, :, -1])

    shapes = (Shape((words, width), 0.5), *net.shapes())
    train, held = _windows(_source(), context)
    return Exercise(f"letters{context}", "source", shapes, loss, train, held, SHORT, FEW)


def _colours(name: str, widths: tuple[int, ...]) -> Exercise:
    """The colour at a place of a photograph, from waves of its coordinates."""
    pixels = _picture(name)
    rows, columns = np.mgrid[0 : pixels.shape[0], 0 : pixels.shape[1]].reshape(2, -1).astype(np.float32)
    places = np.stack([rows / pixels.shape[0], columns / pixels.shape[1]], 1)
    waves = np.concatenate([f(2**k * np.pi * places) for k in range(4) for f in (np.sin, np.cos)], 1)
    halves = _split(waves, (pixels.reshape(-1, 3) - 0.5) * 4)
    return _of("colours", name, Mlp((waves.shape[1], *widths, 3)), _foretells, halves, steps=SHORT, batch=FEW)


def _shades(name: str, widths: tuple[int, ...], scales: tuple[float, ...]) -> Exercise:
    """How bright the next pixel of a photograph is, in eight steps, from the twelve left of it and around."""
    grey = _picture(name).mean(2)
    windows = np.lib.stride_tricks.sliding_window_view(grey, (3, 5))
    seen, target = windows[:, :, :, :4].reshape(-1, 12), windows[:, :, 1, 4].reshape(-1)
    steps = np.quantile(target, np.arange(1, 8) / 8)
    halves = _split((seen - seen.mean()) / seen.std(), np.searchsorted(steps, target))
    net = Mlp((12, *widths, 8), torch.relu, scales=scales, gain=1.4)
    return _of(f"shades{len(widths)}", name, net, _classifies, halves, steps=SHORT, batch=FEW)


def _strips(name: str, width: int) -> Exercise:
    """The right half of a square piece of a photograph from its left half."""
    squares = (_squares(name, 8, 20_000).mean(3) - 0.4) * 4
    left, right = squares[:, :, :4].reshape(-1, 32), squares[:, :, 4:].reshape(-1, 32)
    return _of("strips", name, Mlp((32, width, 32)), _foretells, _split(left, right), steps=SHORT)


@cache
def search_exercises() -> tuple[Exercise, ...]:
    """What a search tries a rule on: the first three in the first rung, all in later ones."""
    recurrent = Recurrent(len(LETTERS), 16, gates=1)
    windows = _windows(_source(), 10)
    return (
        _shades("china.jpg", (24,), scales=(3.0, 0.3)),
        _colours("china.jpg", (24, 24)),
        _next_letter(4, (24,)),
        _shades("china.jpg", (24, 24, 24), scales=(0.1, 1.0, 10.0, 1.0)),
        _next_letter(8, (32, 32, 32)),
        _strips("china.jpg", 24),
        _of("recurrent", "source", recurrent, _continues, windows, steps=SHORT, batch=16),
    )


# The judges' ------------------------------------------------------------------------------------------------------
def _digits() -> list[Exercise]:
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = (found.data / 8 - 1).astype(np.float32)
    halves = _split(pixels, found.target)
    mistaken = np.random.default_rng(0)
    wrong = np.where(mistaken.random(len(pixels)) < 0.2, mistaken.integers(0, 10, len(pixels)), found.target)
    maps = _split(pixels.reshape(-1, 8, 8, 1), found.target)
    shallow, deep = Mlp((64, 48, 10), torch.relu, gain=1.4), Mlp((64, 24, 24, 24, 24, 24, 10), gain=1.2)
    scaled, small = Mlp((64, 32, 32, 10), scales=(10.0, 0.1, 1.0)), Mlp((64, 32, 8, 32, 64))
    around = Convolutions((1, 8, 16), 10)
    return [
        _of("digits", "digits", shallow, _classifies, halves, steps=100),
        _of("digits-deep", "digits", deep, _classifies, halves, steps=200),
        _of("digits-scaled", "digits", scaled, _classifies, halves, steps=LONG),
        _of("digits-noisy", "digits", shallow, _classifies, _split(pixels, wrong), steps=60),
        _of("digits-convolution", "digits", around, _classifies, maps, steps=LONG, batch=16),
        _of("digits-autoencoder", "digits", small, _repeats, halves, steps=LONG),
    ]


def _flower() -> list[Exercise]:
    squares = (_squares("flower.jpg", 5, 8000) - 0.4) * 4
    middle = squares[:, 2, 2]
    hidden = np.where(np.arange(25).reshape(1, 5, 5, 1) == 12, np.float32(0), squares)
    small, around = Mlp((75, 32, 6, 32, 75), torch.relu, gain=1.4), Convolutions((3, 12, 16), 3)
    flat = _split(squares.reshape(len(squares), -1))
    return [
        _of("flower-autoencoder", "flower.jpg", small, _repeats, flat, steps=LONG),
        _of("flower-middle", "flower.jpg", around, _foretells, _split(hidden, middle), steps=LONG),
    ]


def _texts() -> list[Exercise]:
    letters = _windows(_letters(_manual()), 12)
    words, counts = np.unique(_manual().lower().split(), return_counts=True)
    common = {word: number for number, word in enumerate(words[np.argsort(-counts, kind="stable")[:127]], 1)}
    spoken = _windows(np.array([common.get(word, 0) for word in _manual().lower().split()], dtype=np.int64), 8)
    lstm, by_letter = Recurrent(len(LETTERS), 16), Transformer(len(LETTERS), 16, 12)
    by_word = Transformer(128, 16, 8, blocks=2)
    return [
        _of("letters-lstm", "manual", lstm, _continues, letters, steps=LONG, batch=8),
        _of("letters-transformer", "manual", by_letter, _continues, letters, steps=LONG, batch=8),
        _of("words-transformer", "manual", by_word, _continues, spoken, steps=LONG, batch=8),
    ]


def _tables() -> list[Exercise]:
    """So small that they are judged by the rows that they learn from: how well a rule minimises."""
    rows, progression = _table("diabetes")
    progression = ((progression - progression.mean()) / progression.std()).reshape(-1, 1)
    seen, _ = _split(rows, progression)
    cells, kind = _table("breast_cancer")
    known, _ = _split(cells, kind.astype(np.int64))
    deep, scaled = Mlp((10, 32, 32, 1), torch.relu, gain=1.4), Mlp((30, 16, 16, 2), scales=(10.0, 0.1, 1.0))
    return [
        _of("diabetes", "diabetes", deep, _foretells, (seen, seen), steps=LONG),
        _of("breast-cancer", "breast_cancer", scaled, _classifies, (known, known), steps=LONG),
    ]


def _noisy_quadratic(size: int = 64) -> Exercise:
    """A quadratic of condition 10,000 whose gradient is that of a few noisy rows."""
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(size, size, generator=generator))[0]
    rows = torch.randn(4096, size, generator=generator) * torch.logspace(0, -2, size) @ turn
    target = 3 * rows @ torch.randn(size, 1, generator=generator) + 0.1 * torch.randn(4096, 1, generator=generator)

    def loss(weights: Weights, batch: Rows) -> Tensor:
        return squared(linear(batch[0], weights[0]), batch[1])

    train, held = (rows[:3072], target[:3072]), (rows[3072:], target[3072:])
    return Exercise("noisy-quadratic", "made up", (Shape((size, 1)),), loss, train, held, LONG)


def _factors(rank: int = 6) -> Exercise:
    """Two thin matrices whose product gives what is known of a large one."""
    generator = torch.Generator().manual_seed(1)
    rows, columns = 40, 30
    left = torch.randn(rows, rank, generator=generator) * torch.logspace(0.5, -1, rank)
    whole = left @ torch.randn(columns, rank, generator=generator).mT
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    places = places[torch.randperm(len(places), generator=generator)]
    values = whole[places[:, 0], places[:, 1]]

    def loss(weights: Weights, batch: Rows) -> Tensor:
        given = (embedded(weights[0], batch[0][:, :, 0]) * embedded(weights[1], batch[0][:, :, 1])).sum(2)
        return squared(given, batch[1])

    shapes = (Shape((rows, rank), 0.5), Shape((columns, rank), 0.5))
    train, held = (places[:900], values[:900]), (places[900:], values[900:])
    return Exercise("factors", "made up", shapes, loss, train, held, LONG)


@cache
def judging_exercises() -> tuple[Exercise, ...]:
    """What nobody searches with: exercises of other data, depth and kind."""
    return (*_digits(), *_flower(), *_texts(), *_tables(), _noisy_quadratic(), _factors())


def lengthened(exercise: Exercise, factor: float) -> Exercise:
    """The same exercise with more or fewer steps."""
    return replace(exercise, steps=max(round(exercise.steps * factor), 10))
