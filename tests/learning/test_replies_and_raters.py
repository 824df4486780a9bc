"""From a user's table to answers: replies, raters, and what bad input gets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polymath import Polymath
from polymath.spec import BadInput

ASKED = ("are you open on {}", "where is shop {}", "thank you {}", "how much is item {}")
SAID = ("Yes, we are.", "On Elm street.", "You are welcome!", "Ten euros.")


def pairs(rows: int) -> pd.DataFrame:
    """Messages whose first words say which of four replies follows."""
    generator = np.random.default_rng(0)
    which = generator.integers(0, 4, rows)
    message = [ASKED[k].format(generator.integers(0, 50)) for k in which]
    return pd.DataFrame({"message": message, "reply": [SAID[k] for k in which]})


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """A task of replies, learned from good and bad rows."""
    bad = pd.DataFrame(
        {
            "message": ["hello", None, "x" * 100_000, "\x00\x1b\x07", "what about \x1b[31mred\x00"],
            "reply": ["y" * 100_000, "Ten euros.", "Yes, we are.", "\x00\x00", "Ten\x00 euros."],
        }
    )
    with Polymath(tmp_path_factory.mktemp("chat") / "store") as store:
        yield store.learn(
            pd.concat([pairs(300), bad], ignore_index=True),
            target="reply",
            types={"reply": "reply", "message": "text"},
            name="chat",
            work=2.0,
            engine="inline",
            cache=str(tmp_path_factory.mktemp("cache")),
        )


def test_replies_are_suggested_from_the_set(chat):
    frame = pairs(40)
    answers = [row["reply"] for row in chat.predict(frame[["message"]])]
    assert np.mean([one["value"] == true for one, true in zip(answers, frame.reply, strict=True)]) > 0.8
    for one in answers:
        said = [reply["reply"] for reply in one["replies"]]
        assert one["value"] == said[0] and len(set(said)) == len(said) <= 3 and set(said) <= set(SAID)
    scores = chat.evaluate(frame)["scores"]
    assert set(scores) == {"recall_1_of_100", "mrr", "suggested"} and scores["suggested"] > 0.8


def test_an_answer_needs_nothing_of_the_tower_that_reads_replies(chat):
    module = chat.predictor.module
    genes = {gene.name: gene for gene in chat.predictor.path.genes}
    frozen = genes["responses.reply"]
    assert frozen.frozen and frozen.inputs == ("message",) and frozen.layer.width == 4
    before = chat.predict(pairs(5)[["message"]])
    for parameter in module.module("reply").parameters():
        parameter.data.zero_()
    assert chat.predict(pairs(5)[["message"]]) == before
    chat._predictor = None


def test_bad_rows_are_left_out_and_counted(chat):
    counts = {one["reason"]: one["count"] for one in chat.record.unused}
    assert counts["has no target"] == 2  # a hundred thousand characters, and nothing but control characters
    assert counts["is a reply of more than 1,000 characters"] == 1
    assert chat.record.summary.rows_used == 303
    odd = pd.DataFrame({"message": ["", None, "y" * 100_000, "\x00", "thank you \x1b 7"]})
    answers = chat.predict(odd)
    assert len(answers) == 5 and answers[4]["reply"]["value"] == "You are welcome!"


def test_a_set_of_one_and_other_targets_are_refused_in_one_line(tmp_path):
    wishes = {"work": 0.01, "engine": "inline", "cache": str(tmp_path / "cache")}
    types = {"reply": "reply", "message": "text"}
    frame = pairs(40)
    with Polymath(tmp_path / "store") as store:
        same = frame.assign(reply=["Yes.", "yes"] * 20)
        with pytest.raises(BadInput, match="only the reply Yes") as refused:
            store.learn(same, target="reply", types=types, **wishes)
        assert "\n" not in str(refused.value)
        two = frame.assign(price=np.arange(40.0))
        with pytest.raises(BadInput, match="replies are learned alone"):
            store.learn(two, target=["reply", "price"], types=types, **wishes)


def test_raters_from_a_file_to_show(tmp_path, capsys):
    from polymath.app import commands

    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, 300)
    frame = pd.DataFrame({"x": truth + generator.normal(0, 0.3, 300).round(2)})
    for name, sure in (("anna", 0.95), ("ben", 0.7), ("chris", 0.7)):
        said = np.where(generator.random(300) < sure, truth, 1 - truth)
        frame[name] = np.where(generator.random(300) < 0.9, np.array(["no", "yes"])[said], "")
    frame["grade"] = np.where(np.arange(300) % 4 == 0, np.array(["no", "yes"])[truth], "")
    frame.to_csv(tmp_path / "g.csv", index=False)
    wishes = {"work": 0.2, "engine": "inline", "cache": str(tmp_path / "cache")}
    with Polymath(tmp_path / "store") as store:
        task = store.learn(tmp_path / "g.csv", raters={"grade": ("anna", "ben", "chris")}, name="g", **wishes)
        assert task.record.problem["outputs"][0]["type"] == "graded"
        assert [one["name"] for one in task.record.problem["inputs"]] == ["x"]
        assert set(task.predict(frame[["x"]])[0]["grade"]) == {"value", "probability", "probabilities"}
        only_settled = frame[["x", "grade"]][frame.grade != ""]
        assert task.evaluate(only_settled)["scores"]["accuracy"] > 0.9
        assert task.evaluate(frame[["x", "anna", "ben"]])["rows"] > 250
        failed = [row["failed"] for row in task.leaderboard() if row["failed"]]
        assert not failed
        page = task.report(tmp_path / "g.html").read_text()
    assert "3 raters give the same answer" in page
    commands.show("g", store=tmp_path / "store", as_json=False)
    shown = capsys.readouterr().out
    assert "raters of grade: agreement" in shown and "right anna" in shown


@pytest.mark.parametrize("text", ["grade", "=a,b", "grade=a", "grade="])
def test_a_wrong_option_is_one_line(text):
    from polymath.app.commands import _raters

    with pytest.raises(BadInput, match="TARGET=COLUMN"):
        _raters((text,))
