"""An experiment run again gives the same, bit for bit; what differs, or cannot be the same, is named."""

from __future__ import annotations

import shutil

import pytest

from polymath.experiments import replay, tried
from polymath.spec import BadInput


def test_every_rung_comes_out_the_same(learned) -> None:
    before = learned.store.path.stat().st_mtime_ns
    found = learned.task.replay(100, cache=learned.cache)
    assert [(rung.rung, rung.verdict) for rung in found.rungs] == [(0, "equal"), (1, "equal"), (2, "equal")]
    assert found.equal
    assert found.versions["torch"][0] == "0.0.1"
    assert learned.store.path.stat().st_mtime_ns == before


@pytest.mark.parametrize("number", [0, 1])
def test_what_learn_tried_comes_out_the_same(number: int, learned) -> None:
    assert [rung.verdict for rung in learned.task.replay(number, cache=learned.cache).rungs] == ["equal"]


def test_a_difference_names_rung_and_fields(learned) -> None:
    entries = learned.run(300)
    other = learned.run(301)
    outcome = {**other[1].outcome, "checkpoint": entries[1].outcome["checkpoint"]}
    learned.add(entries[1].replace(outcome=outcome))
    found = learned.task.replay(300, cache=learned.cache)
    assert not found.equal
    assert [rung.verdict for rung in found.rungs] == ["equal", "different"]
    fields = {one.field: one for one in found.rungs[1].differences}
    assert {"predictions", "weights", "curve"} <= set(fields)
    assert "by up to" in str(fields["predictions"].replayed)
    assert "fold 0 hidden" in str(fields["weights"].replayed)


def test_a_failure_that_fails_again_is_equal(learned) -> None:
    entry = learned.run(302, rungs=1)[0]
    request = {**entry.request, "recipe": {**entry.request["recipe"], "rule": "sgd", "learning_rate": 1e30}}
    reason = "diverged: the loss is not finite, even with a quarter of the learning rate"
    learned.add(entry.replace(request=request, ok=False, score=None, outcome={"ok": False, "reason": reason}))
    assert learned.task.replay(302, cache=learned.cache).rungs[0].verdict == "equal"
    learned.add(entry.replace(request=request, ok=False, score=None, outcome={"ok": False, "reason": "other"}))
    found = learned.task.replay(302, cache=learned.cache).rungs[0]
    assert [one.field for one in found.differences] == ["reason"]


def test_what_the_clock_or_a_dead_worker_ended_is_not_compared(learned) -> None:
    entries = learned.run(303)
    learned.add(entries[1].replace(outcome={**entries[1].outcome, "hurried": True}))
    found = learned.task.replay(303, cache=learned.cache)
    assert [rung.verdict for rung in found.rungs] == ["equal", "cannot be compared"]
    assert found.equal and "clock" in found.rungs[1].reason
    constant = next(one.last for one in tried(learned.store, "trees") if one.last.number == 0)
    probe = constant.replace(number=307, key="probe", outcome={**constant.outcome, "hurried": True})
    learned.add(probe)
    assert learned.task.replay(307, cache=learned.cache).rungs[0].verdict == "equal"
    learned.add(probe.replace(outcome={**probe.outcome, "score": 0.125}))
    assert learned.task.replay(307, cache=learned.cache).rungs[0].verdict == "cannot be compared"
    entry = learned.run(306, rungs=1)[0]
    learned.add(entry.replace(ok=False, score=None, outcome={"ok": False, "died": True, "reason": "no answer"}))
    assert "worker died: no answer" in learned.task.replay(306, cache=learned.cache).rungs[0].reason


def test_what_cannot_be_run_again_says_why(learned, tmp_path) -> None:
    with pytest.raises(BadInput, match=r"no longer there.*same `polymath learn` command again"):
        learned.task.replay(100, cache=tmp_path)
    with pytest.raises(BadInput, match=r"no such experiment.*polymath experiments trees"):
        learned.task.replay(9999, cache=learned.cache)
    with pytest.raises(BadInput, match="TASK/NUMBER"):
        replay(learned.store, "trees", cache=learned.cache)
    entry = learned.run(304, rungs=1)[0]
    learned.add(entry.replace(request={}))
    with pytest.raises(BadInput, match="not in the ledger"):
        learned.task.replay(304, cache=learned.cache)
    learned.add(entry.replace(request={}, ok=False, outcome={"ok": False, "reason": "x", "traceback": "Traceback"}))
    with pytest.raises(BadInput, match="not even be built"):
        learned.task.replay(304, cache=learned.cache)


def test_what_was_built_upon_stored_weights_is_run_again_with_them(learned) -> None:
    entry = learned.run(308)[2]
    path = entry.outcome["paths"][0]
    genes = [{**gene, "frozen": gene["weights"] is not None and gene["name"] != "head"} for gene in path["genes"]]
    frozen = {**path, "genes": [gene if gene["frozen"] else {**gene, "weights": None} for gene in genes]}
    (built,) = learned.run(309, rungs=1, path=frozen)
    assert learned.task.replay(309, cache=learned.cache).equal
    addresses = [gene["weights"] for gene in frozen["genes"] if gene["weights"]]
    assert addresses and built.ok
    gone = {**frozen, "genes": [{**gene, "weights": gene["weights"] and "0" * 64} for gene in frozen["genes"]]}
    learned.add(built.replace(request={**built.request, "path": gone}))
    with pytest.raises(BadInput, match="built upon are no longer there"):
        learned.task.replay(309, cache=learned.cache)


def test_replay_needs_no_scratch_store(learned) -> None:
    learned.run(305)
    shutil.move(learned.store.path / "scratch", learned.store.path / "moved")
    try:
        assert learned.task.replay(305, cache=learned.cache).equal
    finally:
        shutil.move(learned.store.path / "moved", learned.store.path / "scratch")
