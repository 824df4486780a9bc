"""A task gated by another: asked first, and answered only where the gate says so."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from polymath import Polymath
from polymath.gating import Gate, parse
from polymath.spec import BadInput


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory):
    """A gate that looks at the sign of x, and a task behind it that looks at y."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"x": generator.normal(size=400).round(3), "y": generator.normal(size=400).round(3)})
    frame["worth"] = np.where(frame.x > 0, "yes", "no")
    frame["kind"] = np.where(frame.y > 0, "up", "down")
    store = Polymath(tmp_path_factory.mktemp("gating") / "store")
    wishes = {"work": 0.05, "engine": "inline", "space": "heads", "cache": str(tmp_path_factory.mktemp("cache"))}
    store.learn(frame[["x", "worth"]], target="worth", name="trigger", **wishes)
    store.learn(frame[["x", "y", "kind"]], target="kind", name="gated", gate="trigger", **wishes)
    yield store, frame, wishes
    store.close()


def test_what_the_gate_turns_down_is_not_answered(knowledge):
    store, frame, _ = knowledge
    answers = store.task("gated").predict(frame)
    said = [answer["worth"]["value"] == "yes" for answer in store.task("trigger").predict(frame)]
    assert 100 < sum(said) < 300
    for answer, opened in zip(answers, said, strict=True):
        assert (set(answer) == {"kind"}) if opened else (answer == {"gated": True, "by": "trigger"})
    together = store.predict_many([("gated", frame), ("trigger", frame)])[0]
    assert [one.get("kind", {}).get("value") for one in together] == [
        one.get("kind", {}).get("value") for one in answers
    ]


def test_the_dear_task_is_computed_for_no_row_that_the_gate_turns_down(knowledge, monkeypatch):
    store, frame, _ = knowledge
    task = store.task("gated")
    opened = sum("kind" in answer for answer in task.predict(frame))
    computed = []
    predictor = task.predictor
    for module in predictor.module.genes:
        module.register_forward_pre_hook(lambda _, inputs: computed.append(len(inputs[0])))
    encode = type(predictor.problem).encode_inputs
    encoded: dict[str, int] = {}

    def counted(problem, table):
        encoded[problem.outputs[0].name] = encoded.get(problem.outputs[0].name, 0) + len(table)
        return encode(problem, table)

    monkeypatch.setattr(type(predictor.problem), "encode_inputs", counted)
    answers = [answer for part in predictor.predict(pa.Table.from_pandas(frame)) for answer in part]
    assert sum("kind" in answer for answer in answers) == opened < len(frame)
    assert encoded == {"worth": len(frame), "kind": opened} and set(computed) == {opened}
    computed.clear()
    list(predictor.predict(pa.Table.from_pandas(frame[frame.x < -0.5])))
    assert sum(computed) == 0, "nothing at all where no row is let through"


def test_evaluate_counts_the_rows_let_through(knowledge):
    store, frame, _ = knowledge
    found = store.task("gated").evaluate(frame)
    assert found["rows"] + found["rows_gated"] == 400 and found["rows_gated"] > 100
    assert found["scores"]["accuracy"] > 0.8
    with pytest.raises(BadInput, match="the gate lets no row through"):
        store.task("gated").evaluate(frame[frame.x < -0.5])


def test_nothing_is_written_where_the_gate_says_no(knowledge):
    store, frame, _ = knowledge
    task = store.task("gated")
    shut, opened = (
        next(n for n, one in enumerate(task.predict(frame)) if ("gated" in one) is how) for how in (True, False)
    )
    table = pa.Table.from_pandas(frame)
    assert list(task.predictor.stream(table.slice(shut))) == []
    with pytest.raises(BadInput, match="nothing can be written"):  # it gives no text
        list(task.predictor.stream(table.slice(opened)))


def test_the_gate_is_kept_with_the_task(knowledge, tmp_path):
    store, frame, _ = knowledge
    before = store.task("gated").predict(frame)
    assert str(store.task("gated").record.gate) == "answers only where trigger says worth = yes"
    store.copy("gated", tmp_path / "other")
    with Polymath(tmp_path / "other") as other:
        assert [task.name for task in other.tasks()] == ["gated"]
        assert json.dumps(other.task("gated").predict(frame)) == json.dumps(before)


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("triger", "Did you mean trigger"),
        ("trigger:perhaps", "no class of the gate"),
        ("trigger:yes@2", "is not a gate"),
        ("trigger:yes@x", "is not a gate"),
        ("gated:", "does not say which class means yes"),
        ("mine", "cannot be its own gate"),
    ],
)
def test_a_gate_that_cannot_be_is_refused(knowledge, gate, said):
    store, frame, wishes = knowledge
    with pytest.raises(BadInput, match=said):
        store.learn(frame[["x", "y", "kind"]], target="kind", name="mine", gate=gate, **wishes)


def test_a_gate_needs_its_columns(knowledge):
    store, frame, wishes = knowledge
    with pytest.raises(BadInput, match="the data lack it"):
        store.learn(frame[["y", "kind"]], target="kind", name="mine", gate="trigger", **wishes)


def test_how_likely_the_gate_must_find_it():
    assert parse("mail.trigger:a:b@0.25") == ("mail.trigger", "a:b", 0.25)
    gate = Gate(task="t", output="worth", value="yes", least=0.3, record={})
    assert gate.opens({"worth": {"value": "no", "probabilities": {"yes": 0.4, "no": 0.6}}})
    assert not gate.opens({"worth": {"value": "no", "probabilities": {"yes": 0.2, "no": 0.8}}})
    assert not gate.opens({"error": "cannot be used"}) and not gate.opens({"gated": True, "by": "other"})
    several = Gate(task="t", output="marks", value="red", record={})
    assert several.opens({"marks": {"value": ["blue", "red"]}}) and not several.opens({"marks": {"value": []}})
