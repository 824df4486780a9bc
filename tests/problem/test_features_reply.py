"""Replies: the set of responses, the loss within a batch, ranks, suggestions of different kinds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from polymath.problem import Problem, Text
from polymath.problem.features.reply import MOST_CHARACTERS, Reply, kind
from polymath.spec import BadInput


def column(*texts: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.string())])


TEXTS = ("Yes.", "yes", "No!", "Maybe later.", "yes", "See you tomorrow", None)


@pytest.fixture
def feature() -> Reply:
    return Reply(name="reply", width=4).measure(column(*TEXTS), as_output=True)


def test_the_set_is_of_normalised_replies_the_most_frequent_first(feature):
    assert feature.responses[0] == "yes" and len(feature.responses) == 4  # the commonest spelling of three
    assert feature.shares[0] == pytest.approx(0.5) and sum(feature.shares) == pytest.approx(1.0)
    assert kind(" YES !!") == "yes" and kind("?") == "?"


def test_what_was_said_once_is_left_out_where_there_is_enough():
    often = [f"reply number {n}" for n in range(150)] * 2
    found = Reply(name="r").measure(column(*often, "only once"), as_output=True)
    assert len(found.responses) == 150 and "only once" not in found.responses
    few = Reply(name="r", most_responses=10).measure(column(*often), as_output=True)
    assert len(few.responses) == 10


@pytest.mark.parametrize("texts", [("yes", "Yes."), ("", None, "  "), ("x" * (MOST_CHARACTERS + 1),)])
def test_a_set_of_one_or_none_cannot_be_learned(texts):
    with pytest.raises(BadInput, match=r"appears in the rows to learn from.*Two are needed"):
        Reply(name="r").measure(column(*texts), as_output=True)


def test_bad_replies_count_as_missing_and_are_named(feature):
    encoded = feature.encode_target(column("", "  ", "\x00\x1b\u202e", "y" * 100_000, "y\x00es", None))
    assert feature.known(encoded.array).tolist() == [False, False, False, False, True, False]
    (bad,) = encoded.bad
    assert bad.row == 3 and "more than 1,000 characters" in bad.reason and len(bad.value) < 60
    assert np.array_equal(encoded.array[4], feature.encode_target(column("yes")).array[0])


def test_an_equal_reply_of_another_row_is_not_held_against_it(feature):
    target = torch.from_numpy(feature.encode_target(column("yes", "yes", "No!", None)).array.astype(np.int64))
    vectors = torch.nn.functional.normalize(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    vectors[1] = vectors[0]
    loss = feature.loss(torch.cat([20 * vectors, vectors], 1), target)
    alone = feature.loss(torch.cat([20 * vectors, vectors], 1)[[0, 2]], target[[0, 2]])
    assert loss[3] == 0
    assert loss[0] == pytest.approx(float(alone[0]), abs=0.02)  # seen from the reply, two messages remain


def test_ranks_within_a_hundred(feature):
    generator = np.random.default_rng(0)
    replies = [f"{' '.join(generator.choice(['yes', 'no', 'see', 'you', 'later'], 4))}" for _ in range(300)]
    target = feature.encode_target(column(*replies)).array
    vectors = generator.normal(size=(300, 4)).astype(np.float32)
    constant = np.zeros((300, 8), dtype=np.float32)
    perfect = np.concatenate([vectors, vectors / np.square(vectors).sum(1, keepdims=True)], axis=1)
    assert feature.scores(constant, target)["recall_1_of_100"] < 0.05
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    perfect = np.concatenate([vectors, vectors], axis=1)
    assert feature.scores(perfect, target) == {"recall_1_of_100": 1.0, "mrr": 1.0}


def test_suggestions_are_of_different_kinds(feature):
    logits = np.array([[3.0, 2.5, 1.0, 0.0]], dtype=np.float32)
    (answer,) = feature.decode(logits, {"clusters": [7, 7, 1, 2]})
    said = [one["reply"] for one in answer["replies"]]
    assert answer["value"] == feature.responses[0] and said == [feature.responses[n] for n in (0, 2, 3)]
    assert answer["replies"][0]["probability"] > answer["replies"][1]["probability"]
    (alike,) = feature.decode(logits, {})
    assert [one["reply"] for one in alike["replies"]] == list(feature.responses[:3])


def test_whether_the_true_reply_is_among_those_suggested(feature):
    answers = [{"replies": [{"reply": "Yes"}]}, {"replies": [{"reply": "no"}]}, {"replies": []}]
    assert feature.said_scores(answers, column("yes!", "Maybe later.", None)) == {"suggested": 0.5}
    assert feature.places(feature.encode_target(column("No!", "never heard")).array).tolist()[1] == -1


def test_texts_beside_a_reply_are_cut_alike():
    words = column("a table for two", "open on sunday", "thank you", "where is it")
    table = pa.table({"before": words, "message": words, "as_it_is": words, "reply": column(*TEXTS[:4])})
    texts = (Text(name="before"), Text(name="message"), Text(name="as_it_is", lower=False))
    measured = Problem(name="chat", inputs=texts, outputs=(Reply(name="reply", width=4),)).measure(table, range(4))
    before, message, as_it_is = measured.inputs
    assert before.subwords == message.subwords == measured.outputs[0].subwords != as_it_is.subwords
