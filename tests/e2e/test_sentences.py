"""Texts from texts, pictures and rows, the whole way: learn, predict, evaluate."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polymath import Polymath

ANIMALS, PLACES = ["dog", "cat", "horse", "bird"], ["house", "tree", "river", "road"]


def learned(folder: Path, data: object, **wishes: object):
    wishes = {"engine": "inline", "lanes": 1, "cache": str(folder / "cache"), **wishes}
    return Polymath(folder / "knowledge").learn(data, **wishes)


@pytest.mark.slow
def test_parallel_files_are_learned_and_written(tmp_path):
    """A word-for-word translation with another order of words is learned to the letter."""
    pairs = [
        (f"the {a} at the {p} sees {n} stars", f"{n} stelle vede {a}o da {p}a")
        for n in range(60)
        for a in ANIMALS
        for p in PLACES
    ]
    np.random.default_rng(0).shuffle(pairs)
    folder = tmp_path / "corpus"
    folder.mkdir()
    for part, some in (("train", pairs[:700]), ("valid", pairs[700:800]), ("test", pairs[800:])):
        for side, ending in ((0, "en"), (1, "it")):
            (folder / f"{part}.{ending}").write_text("\n".join(pair[side] for pair in some) + "\n")
    task = learned(tmp_path, str(folder), target="it", work=1500)
    scores = task.evaluate(str(folder))["scores"]
    assert scores["token_accuracy"] > 0.9 and scores["log_loss"] < 0.5
    command = [sys.executable, "-m", "polymath.app.main", "predict", "corpus", str(folder), "--beam", "2"]
    told = subprocess.run(
        [*command, "--n-best", "2", "--json", "--store", str(tmp_path / "knowledge")],
        capture_output=True,
        text=True,
        check=True,
    )
    said = [one["it"]["value"] for one in json.loads(told.stdout)["predictions"]]
    assert np.mean([one in {written for _, written in pairs} for one in said]) > 0.8
    parts = list(task.stream({"en": pairs[0][0]}))
    assert len(parts) > 3 and all(len(b) >= len(a) for a, b in itertools.pairwise(parts))


@pytest.mark.slow
def test_pictures_and_rows_are_described(tmp_path):
    """Captions of one colour and one shape; the same from numbers."""
    generator = np.random.default_rng(1)
    colours = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 230)}
    folder = tmp_path / "pictures"
    folder.mkdir()
    lines, table = ["file_name,caption"], ["r,g,b,text"]
    for number in range(240):
        colour = list(colours)[number % 3]
        pixels = np.clip(generator.normal(colours[colour], 20, (16, 16, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(f"{number}.png,a {colour} picture that shows number {number % 5} of many")
        table.append(
            ",".join(map(str, pixels.mean((0, 1)).round(1))) + f",row {number % 7} is mostly {colour} to the eye"
        )
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "rows.csv").write_text("\n".join(table) + "\n")
    for data, name, target in (
        (folder, "pictures", "caption"),
        (tmp_path / "rows.csv", "rows", "text"),
    ):
        task = learned(tmp_path, str(data), target=target, name=name, types={target: "text"}, work=400)
        said = [one[target]["value"] for one in task.predict(str(data))]
        right = [list(colours)[number % 3] in one for number, one in enumerate(said)]
        assert np.mean(right) > 0.6, f"{name}: {said[:3]}"


@pytest.mark.slow
def test_a_text_beside_a_category(tmp_path):
    lines = [
        f"the {a} at the {p} sees {n} stars\t{n} stelle vede {a}o da {p}a\t{a}"
        for n in range(10)
        for a in ANIMALS
        for p in PLACES
    ]
    (tmp_path / "pairs.tsv").write_text("\n".join(["en\tit\tanimal", *lines]) + "\n")
    task = learned(tmp_path, str(tmp_path / "pairs.tsv"), target=["it", "animal"], work=40)
    (answer,) = task.predict([{"en": "the dog at the river sees 3 stars"}])
    assert isinstance(answer["it"]["value"], str) and answer["animal"]["value"] in ANIMALS
