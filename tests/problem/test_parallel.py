"""Texts beside texts: parallel files, and what is said about pairs that are odd."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from polymath.problem import Problem
from polymath.problem.dataset import Dataset
from polymath.problem.features.text import Text
from polymath.problem.inference import infer
from polymath.problem.sources import read
from polymath.spec import BadInput

LINES = [f"the {word} tree number {i} stands here" for i, word in enumerate(["old", "young", "tall"] * 20)]
SAID = [f"der Baum {i} ist {word} und steht" for i, word in enumerate(["alt", "jung", "hoch"] * 20)]


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, lines in files.items():
        (folder / name.replace("_", ".")).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_lines_of_parallel_files_are_rows(tmp_path):
    folder = write(tmp_path / "pairs", train_en=LINES, train_de=SAID, test_en=LINES[:9], test_de=SAID[:9])
    rows = read(str(folder))
    assert rows.table.column_names == ["de", "en", "split"] and len(rows) == 69 and rows.given_split == "split"
    assert rows.table["en"][61].as_py() == LINES[1] and rows.origin(61)[1] == 2
    found = {one.column: (one.role, one.type) for one in infer(rows, target=["de"]).findings}
    assert found["en"] == ("input", "text") and found["de"] == ("output", "text") and found["split"][0] == "ignored"


def test_lines_that_cannot_be_used_are_counted(tmp_path):
    said = [*SAID[:3], "", "x" * 100_000, *SAID[5:]]
    rows = read(str(write(tmp_path / "pairs", train_en=LINES, train_de=said)))
    assert len(rows) == 58 and rows.num_unused == 2 and rows.given_split is None
    assert {one.row for one in rows.unused} == {4, 5} and all(len(one.value) < 200 for one in rows.unused)


def test_only_a_line_feed_ends_a_line_and_old_encodings_are_read(tmp_path):
    folder = write(tmp_path / "pairs", a_en=LINES, a_de=SAID)
    (folder / "a.de").write_bytes("\n".join(["für\ralle", *SAID[1:-1], "schön\r"]).encode("latin-1"))
    rows = read(str(folder))
    assert len(rows) == 60 and rows.table["de"][0].as_py() == "für\ralle" and rows.table["de"][59].as_py() == "schön"
    assert any("a.de is not valid UTF-8" in note for note in rows.notes)


def test_files_of_unlike_length_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"a\.de has 59, a\.en has 60"):
        read(str(write(tmp_path / "pairs", a_en=LINES, a_de=SAID[:59])))


def test_other_folders_are_what_they_were(tmp_path):
    rows = read(str(write(tmp_path / "texts", one_txt=LINES, two_txt=SAID)))
    assert rows.table.column_names == ["text"] and len(rows) == 2


def test_odd_pairs_are_spoken_of():
    same = [*LINES[:5], *SAID[5:]]
    notes = infer(read(pa.table({"source": SAID, "said": LINES})), target=["source"]).notes
    assert any("called 'source'" in note for note in notes)
    notes = infer(read(pa.table({"en": LINES, "de": same})), target=["de"]).notes
    assert any("5 rows have the same text" in note for note in notes)
    with pytest.raises(BadInput, match="the same texts as column 'en'"):
        infer(read(pa.table({"en": LINES, "de": LINES})), target=["de"])


def test_texts_that_are_written_keep_their_capitals_and_few_subwords():
    found = infer(read(pa.table({"en": LINES, "de": SAID})), target=["de"])
    (read_,), (written,) = found.inputs, found.outputs
    assert not read_.lower and not written.lower and written.vocabulary == read_.vocabulary < 8_000
    one = infer(read(pa.table({"en": LINES, "kind": ["a", "b", "c"] * 20})), target=["kind"])
    assert one.inputs[0].lower, "texts that are only read do not tell capitals apart"


def test_empty_texts_are_not_learned_from(tmp_path):
    rows = read(pa.table({"en": ["", "\u200b", *LINES[2:]], "de": [*SAID[:3], None, " ", *SAID[5:]]}))
    problem = Problem(name="p", inputs=[Text(name="en")], outputs=[Text(name="de", lower=False)])
    dataset = Dataset.build(rows, problem, np.array([i % 3 for i in range(60)]), tmp_path)
    assert dataset.unused_counts == {"has no text to read": 2, "has no target": 2}
    assert dataset.inputs["answer/de"] is dataset.targets["de"] and list(np.flatnonzero(dataset.folds < 0)) == [
        0,
        1,
        3,
        4,
    ]


def test_control_characters_and_endless_lines_are_written_as_others():
    texts = [*SAID, "ein\x00 Baum\u202e steht\x1b[31m hier", "ein " * 50_000]
    feature = Text(name="t", lower=False).measure(pa.chunked_array([texts]), as_output=True)
    encoded = feature.encode_target(pa.chunked_array([texts[-2:]])).array
    assert encoded.shape[1] == feature.answer.size[0] and (encoded == feature.end).sum(1).tolist() == [1, 1]
    assert feature.text(encoded[0].tolist()).startswith("ein Baum steht")
