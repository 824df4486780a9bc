"""Texts that quote training rows: learned by wish only, stored, answered from anew."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from polymath import Polymath
from polymath.spec import BadInput

THINGS = ["file", "sheet", "page", "chart", "table", "frame", "image", "index"]
PLACES = ["the left toolbar", "the upper menu", "the status bar", "a new window", "the side pane", "your folder"]
WERE = {"file": "Datei", "sheet": "Blatt", "page": "Seite", "chart": "Diagramm", "table": "Tabelle"}


def pairs() -> tuple[pa.Table, pa.Table]:
    """Sentences about things in places, and one of them per thing that differs by a single word."""
    known = [
        (f"open the {a} in {b} to change it", f"um {WERE.get(a, a)} zu ändern, öffnet man {b} und sucht dort")
        for a in THINGS
        for b in PLACES
    ]
    known = [(f"{en} {n}", f"{de} {n}") for n in range(4) for en, de in known]
    np.random.default_rng(0).shuffle(known)
    asked = [(f"open this {a} in {b} to change it 1", "") for a in THINGS for b in PLACES[:2]]
    return tuple(pa.table({"en": [en for en, _ in some], "de": [de for _, de in some]}) for some in (known, asked))


def test_training_rows_are_quoted_by_wish_and_after_storing(tmp_path):
    known, asked = pairs()
    wishes = {"target": "de", "types": {"de": "text", "en": "text"}, "engine": "inline", "lanes": 1, "work": 10}
    knowledge = Polymath(tmp_path / "knowledge")
    task = knowledge.learn(known, name="quoting", space="recall", cache=str(tmp_path / "cache"), **wishes)
    kinds = [gene["layer"]["kind"] for gene in task.record.path["genes"]]
    assert "recall" in kinds
    said = [one["de"]["value"] for one in task.predict(asked)]
    right = [PLACES[n % 2] in one and one.startswith("um ") for n, one in enumerate(said)]
    assert np.mean(right) > 0.7, f"what was hardly learned is quoted: {said[:4]}"
    again = Polymath(tmp_path / "knowledge").task("quoting")
    assert [one["de"]["value"] for one in again.predict(asked)] == said
    assert len("".join(again.stream({"en": asked["en"][0].as_py()}))) > 10
    assert all(isinstance(one["de"]["value"], str) for one in again.predict(asked.slice(0, 2), integers=True))


def test_what_has_no_text_to_recall_is_refused(tmp_path):
    rows = {"a": [float(n) for n in range(40)], "y": ["odd", "even"] * 20}
    with Polymath(tmp_path / "store") as store, pytest.raises(BadInput, match="nothing can be recalled"):
        store.learn(rows, target="y", space="recall", work=0.01, engine="inline", cache=str(tmp_path / "cache"))
