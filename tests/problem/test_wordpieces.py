"""Texts cut by a published vocabulary: BERT's own way, our ids."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from polymath.learning.translating import recutting
from polymath.problem.features import Text, parse_feature
from polymath.problem.subwords import BLANK, FIRST, Subwords
from polymath.problem.wordpieces import WordPieces, published, words

LINES = ["[PAD]", "[unused0]", "[UNK]", "the", "run", "##ning", "##n", "cafe", "!", "'", "東", "s", "##", "[CLS]"]


@pytest.fixture
def pieces() -> WordPieces:
    return published(LINES, lower=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The running", ["the", "run", "##ning"]),
        ("runn", ["run", "##n"]),
        ("CAFÉ's!", ["cafe", "'", "s", "!"]),
        ("the東the", ["the", "東", "the"]),
        ("the\u200b \x07run", ["the", "run"]),
        ("the runx run", ["the", None, "run"]),
        ("the zzz", ["the", None]),
        ("s" * 101, [None]),
        ("[CLS]", [None, None, None]),
        ("##", [None, None]),
        (" \t\n", []),
    ],
)
def test_cuts(pieces: WordPieces, text: str, said: list[str | None]) -> None:
    assert pieces.encode(text, most=99) == [1 if one is None else LINES.index(one) for one in said]


def test_no_more_than_asked_for(pieces: WordPieces) -> None:
    assert pieces.encode("the run the running", most=3) == [3, 4, 3]
    assert pieces.encode_all(["the run", None, ""], most=2).tolist() == [[3, 4], [0, 0], [0, 0]]


def test_capitals_and_accents_that_count() -> None:
    assert words("Café RUN", lower=False) == ["Café", "RUN"]
    cased = published(LINES, lower=False)
    assert cased.encode("The run", most=9) == [1, 4]


def test_ids_come_back_as_text(pieces: WordPieces) -> None:
    assert pieces.decode(pieces.encode("the running, cafe", most=9)) == "the running\ufffd cafe"
    assert pieces.size == len(LINES)


@pytest.mark.parametrize(
    ("lines", "said"),
    [(["the"], "begins with"), (["[PAD]", "[UNK]", "the"], "begins with"), (["[PAD]", "[unused0]", ""], "line 3")],
)
def test_another_vocabulary_is_refused(lines: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        published(lines, lower=True)


def test_words_of_either_vocabulary_are_found_in_the_other(pieces: WordPieces) -> None:
    given = Subwords(pieces=(f"{BLANK}the", "ning", f"{BLANK}run", "!", "zzz"), scores=(-1.0,) * 5)
    table = recutting(given, pieces)
    assert table[FIRST:, 0].tolist() == [3, 5, 4, 8, 1]
    assert recutting(pieces, given)[LINES.index("the"), 0] == FIRST
    assert recutting(pieces, given)[LINES.index("##ning"), 0] == FIRST + 1


def test_a_text_that_is_cut_so_comes_back_from_its_description(pieces: WordPieces) -> None:
    values = pa.chunked_array([pa.array(["the run", "cafe"])])
    text = Text(name="t", subwords=pieces).measure(values)
    again = parse_feature(text.model_dump(mode="json"))
    assert again == text and isinstance(again, Text) and isinstance(again.subwords, WordPieces)
    assert np.array_equal(again.encode(values).array, [[3, 4], [7, 0]])
