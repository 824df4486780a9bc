"""The ledger as a list: rungs joined into experiments, ids that stay, states, filters."""

from __future__ import annotations

import pytest

from polymath.experiments import entries, leaderboard, select, tried
from polymath.spec import BadInput


def test_rungs_are_joined_and_states_told(learned) -> None:
    rows = {row["experiment"]: row for row in learned.task.experiments()}
    assert (rows[100]["id"], rows[100]["rungs"], rows[100]["state"]) == ("trees/100", 3, "finished")
    assert (rows[101]["rungs"], rows[101]["state"]) == (1, "cut")
    assert (rows[102]["state"], rows[102]["score"]) == ("failed", None)
    assert rows[102]["failed"] == "ValueError: no such layer"
    assert rows[0]["what"] == "constant" and rows[0]["state"] == "finished"
    assert rows[100]["work"] == pytest.approx(0.0006, abs=1e-3)
    assert any(row["weight"] for row in rows.values())


def test_what_may_still_go_on_is_running(learned) -> None:
    record = learned.task.record.replace(state="learning")
    states = {one.last.number: one.state for one in tried(learned.store, "trees", record)}
    assert (states[100], states[101], states[102]) == ("finished", "running", "failed")


def test_filters(learned) -> None:
    task = learned.task
    assert {row["experiment"] for row in task.experiments(generator="surrogate")} >= {100, 101, 102}
    assert [row["experiment"] for row in task.experiments(state="failed")] == [102]
    best = task.experiments(best=3)
    scores = [float(row["score"]) for row in task.experiments() if row["score"] is not None]
    assert [row["score"] for row in best] == sorted(scores, reverse=True)[:3]
    with pytest.raises(BadInput, match=r"One of: .*fixed.*surrogate"):
        task.experiments(generator="nobody")


def test_an_experiment_begun_anew_under_its_number_has_an_id_of_its_own(learned) -> None:
    first = learned.run(200)
    for entry in first:  # the same number from another seed: other keys, other checkpoints
        given, left = entry.request["checkpoint"], entry.outcome["checkpoint"]
        learned.add(
            entry.replace(
                key=f"other {entry.rung}",
                label="another",
                request={**entry.request, "checkpoint": given and f"of {entry.rung}"},
                outcome={**entry.outcome, "checkpoint": left and f"of {entry.rung + 1}"},
            )
        )
    learned.add(first[2].replace(key="longer", label="went on twice"))
    named = {one.id: one for one in tried(learned.store, "trees", learned.task.record) if one.last.number == 200}
    assert {id: (len(one.rungs), one.last.label) for id, one in named.items()} == {
        "trees/200": (3, "columns > linear x2"),
        "trees/200.2": (3, "another"),
        "trees/200.3": (3, "went on twice"),
    }
    assert named["trees/200.3"].rungs[:2] == named["trees/200"].rungs[:2]
    board = [row["id"] for row in leaderboard(learned.store, learned.task.record) if row["experiment"] == 200]
    assert board == ["trees/200.3"]
    of_board = [entry.key for entry in entries(learned.store, learned.task.record) if entry.number == 200]
    assert of_board == [first[0].key, first[1].key, "longer"]


def test_a_ledger_of_the_first_release_is_listed_too(learned) -> None:
    for entry in learned.run(201):
        learned.add(entry.replace(request={}))
    one = next(one for one in tried(learned.store, "trees") if one.last.number == 201)
    assert len(one.rungs) == 3


def test_selecting_the_best_of_nothing_is_nothing() -> None:
    assert select([], best=5) == []
