"""Texts: our cutting equals sentencepiece's, and nothing in a text or a file can stop it."""

from __future__ import annotations

import os
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from polymath.problem import Text, subwords
from polymath.problem.subwords import Subwords, learn, normalise

WORDS = [
    "the",
    "of",
    "a",
    "tree",
    "house",
    "river",
    "naïve",
    "grüße",
    "木",
    "森",
    "42",
    "don't",
    "running",
    "runner",
    "!",
]
ODD = [
    "",
    " ",
    "\x00",
    "a\x00b",
    "木foo木bar",
    "🎉🎉 🎉",
    "A" * 500,
    "\u2581 \u2581x",
    "ﬁne ½",
    "\u202eabc",
    "é" * 40,
    "\ud800",
]


def sentences(number):
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, 12)) for _ in range(number)]


@pytest.fixture(scope="module")
def learned():
    """Subwords, and sentencepiece's own model of the same training."""
    models = []
    original = subwords._from_model

    def keep(content, *, lower):
        models.append(SentencePieceProcessor(model_proto=content))
        return original(content, lower=lower)

    subwords._from_model = keep
    try:
        return learn(sentences(400), vocabulary=300, lower=True), models[0]
    finally:
        subwords._from_model = original


def same(learned, text):
    ours, theirs = learned
    return ours.encode(text, most=100_000) == [one + 1 for one in theirs.encode(normalise(text, lower=True))]


def test_cutting_equals_sentencepiece(learned):
    for text in [
        *sentences(50),
        *[one for one in ODD if one.isascii() or one.encode("utf-8", "ignore").decode() == one],
    ]:
        assert same(learned, text), text


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("etaoin runs 木é!x\t"), max_size=60))
def test_cutting_equals_sentencepiece_for_any_text(learned, text):
    assert same(learned, text)


def test_learning_is_deterministic_and_plain_data(learned):
    again = learn(sentences(400), vocabulary=300, lower=True)
    assert again == learned[0] == Subwords.from_json(learned[0].to_json())
    assert learned[0].decode(learned[0].encode("The RIVER runs", most=50)) == "the river runs"


@pytest.mark.parametrize("texts", [[], [""], ["a"], ["\x00"], ["x y"] * 3, ["木"] * 5, ODD])
def test_little_to_learn_from(texts):
    found = learn(texts, vocabulary=8000, lower=True)
    ids = found.encode_all([*ODD, None], most=7)
    assert ids.shape == (len(ODD) + 1, 7) and ids.max() < found.size


def test_normalise():
    assert normalise("  Ａ\tﬁne\n\n\x00day\u200b ", lower=True) == "a fine day"
    assert normalise("Ａ", lower=False) == "A"


def test_length_holds_99_of_100():
    texts = ["tree"] * 990 + ["tree " * 5000] * 10
    text = Text(name="t").measure(pa.chunked_array([texts]))
    assert text.form.size[0] < 10
    assert Text(name="t", most_tokens=64).measure(pa.chunked_array([["tree " * 5000]])).form.size == (64,)


def test_a_very_long_line_takes_no_time():
    text = Text(name="t").measure(pa.chunked_array([sentences(100)]))
    start = time.process_time()
    text.encode(pa.chunked_array([["x" * 100_000, "tree " * 100_000, "木" * 1_000_000]]))
    assert time.process_time() - start < 1.0


def test_ids_grow_with_the_vocabulary():
    many = Subwords(pieces=tuple(f"piece{i}" for i in range(70_000)), scores=(-1.0,) * 70_000)
    assert many.encode_all(["piece69999"], most=3).dtype == np.uint32


def test_files(tmp_path):
    (tmp_path / "a.txt").write_text("The tree stands.")
    (tmp_path / "b.txt").write_bytes("Größe".encode("utf-16"))
    (tmp_path / "c.txt").write_bytes("Größe".encode("latin-1"))
    (tmp_path / "empty.txt").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    names = ["a.txt", "b.txt", "c.txt", "empty.txt", "pipe", "absent", ".", "\x00"]
    column = pa.chunked_array([[str(tmp_path / name) for name in names] + [None]])
    text = Text(name="t", from_file=True).measure(column)
    encoded = text.encode(column)
    assert [bad.row for bad in encoded.bad] == [4, 5, 6, 7] and not any(bad.missing for bad in encoded.bad)
    assert "No such file" in encoded.bad[1].reason
    assert text.subwords.decode(encoded.array[1]) == text.subwords.decode(encoded.array[2]) == "größe"
    assert not encoded.array[3:].any()
