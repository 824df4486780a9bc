"""Consolidate: one trunk for many tasks, tasks moved onto it only where it serves; learning from very few examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits

from polymath import Polymath
from polymath.learning import Silent, Wishes, few
from polymath.learning.consolidate import Consolidated, Trunk, consolidate
from polymath.learning.onto_trunk import Moved
from polymath.learning.parents import parents
from polymath.learning.trunks import TRUNK
from polymath.problem import Dataset, Problem, Split
from polymath.spec import BadInput

CHEAP = {"engine": "inline", "lanes": 1, "space": "heads"}


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def digits(classes: range, *, each: int, skip: int = 0, side: int = 8) -> pa.Table:
    """Pictures of some digits, all of one size."""
    data = load_digits()
    chosen = np.concatenate([np.flatnonzero(data.target == label)[skip : skip + each] for label in classes])
    pictures = (data.images[chosen] * 15.9).astype(np.uint8).repeat(side // 8, 1).repeat(side // 8, 2)
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(pictures))
    return pa.table({"picture": column, "digit": [f"d{label}" for label in data.target[chosen]]})


WORDS = {
    "rain": ["cloud", "drizzle", "umbrella", "puddle", "thunder", "wet", "storm", "shower"],
    "sun": ["bright", "beach", "summer", "heat", "shine", "clear", "desert", "warm"],
    "cook": ["recipe", "oven", "flour", "butter", "salt", "pan", "boil", "dough"],
    "sail": ["harbour", "mast", "anchor", "deck", "rudder", "wave", "hull", "crew"],
    "code": ["compiler", "function", "variable", "loop", "debug", "script", "parser", "thread"],
}


def texts(classes: Sequence[str], *, each: int, seed: int = 0) -> pa.Table:
    """Short texts of a few words of their class among others that say nothing."""
    chance = np.random.default_rng([seed, *"".join(classes).encode()])
    rows = [
        (
            " ".join(
                chance.permutation([*chance.choice(WORDS[one], 3), *chance.choice(["The", "and", "of", "it"], 4)])
            ),
            one,
        )
        for one in classes
        for _ in range(each)
    ]
    return pa.table({"text": [text for text, _ in rows], "about": [one for _, one in rows]})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sleep")


@pytest.fixture(scope="module")
def slept(place: Path) -> Consolidated:
    """Two tasks of digits of two sizes, a private one and a table, consolidated."""
    store = Polymath(place / "store")
    cache = str(place / "cache")
    for name, classes, side in (("low", range(3), 8), ("high", range(3, 6), 16)):
        store.learn(digits(classes, each=40, side=side), target="digit", name=name, work=0.05, cache=cache, **CHEAP)
    store.learn(
        digits(range(6, 8), each=20), target="digit", name="secret", work=0.02, cache=cache, private=True, **CHEAP
    )
    table = pa.table({"x": np.arange(60.0), "y": ["a", "b"] * 30})
    store.learn(table, target="y", name="table", work=0.01, cache=cache, **CHEAP)
    asked = digits(range(3), each=5, skip=60)
    before = store.task("low").predict(asked)
    wish = Wishes(work=12, cache=cache, engine="inline", lanes=1)
    found = consolidate(store.store, wishes=wish, listener=Silent())
    if not next(one for one in found.tasks if one.task == "low").moved:
        assert store.task("low").predict(asked) == before
    store.close()
    return found


def test_a_trunk_is_learned_from_what_fits(slept: Consolidated, place: Path) -> None:
    assert slept.trunk == "trunk-1"
    assert slept.also == ()
    assert slept.reads == "pictures"
    assert slept.classes == 6
    said = {one.task: one.why for one in slept.tasks}
    assert "private" in said["secret"]
    assert "picture" in said["table"]
    record = Polymath(place / "store").task("trunk-1").record
    assert record.origin[TRUNK] == ["high", "low"]
    names = {c for c in Problem.model_validate(record.problem).outputs[0].classes}  # type: ignore[attr-defined]
    assert names == {"low/d0", "low/d1", "low/d2", "high/d3", "high/d4", "high/d5"}
    assert len(record.members) == 1


def test_tasks_move_only_where_it_is_no_worse(slept: Consolidated, place: Path) -> None:
    store = Polymath(place / "store")
    for one in slept.tasks:
        if one.before is None:
            continue
        assert one.after is not None
        assert one.moved == (one.after >= one.before)
        assert (store.task(one.task).record.built_on == ("trunk-1",)) == one.moved
    compared = [one for one in slept.tasks if one.before is not None]
    assert {one.task for one in compared} == {"low", "high"}
    moved = [one for one in compared if one.moved]
    assert moved, "a trunk of six digits serves neither three of them"
    asked = digits(range(3), each=20) if moved[0].task == "low" else digits(range(3, 6), each=20, side=16)
    answers = store.task(moved[0].task).evaluate(asked)
    assert answers["scores"]["accuracy"] > 0.8  # type: ignore[index,call-overload,operator]
    assert any("on trunk-1" in str(row["what"]) for row in store.task(moved[0].task).leaderboard())


def test_the_trunk_is_the_most_promising_parent(slept: Consolidated, place: Path) -> None:
    store = Polymath(place / "store")
    problem = Problem.model_validate(store.task("secret").record.problem)
    assert parents(store.store, problem, but="secret")[0].task == slept.trunk


def test_one_example_of_every_class(slept: Consolidated, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, heard = Polymath(place / "store"), Heard()
    rows = digits(range(5, 10), each=20, skip=20)
    given = {"target": "digit", "work": 1, "cache": str(place / "cache"), "listener": heard, "private": True}
    task = store.learn(digits(range(5, 10), each=1), name="one", **given)
    assert task.record.built_on == (), "a net of six classes is not trusted unseen"
    assert task.evaluate(rows)["scores"]["accuracy"] > 0.5  # type: ignore[index,call-overload,operator]
    monkeypatch.setattr(few, "ENOUGH_CLASSES", 6)
    task = store.learn(digits(range(5, 10), each=1), name="once more", **given)
    assert task.record.built_on == (slept.trunk,)
    assert any("One example of every class" in line and slept.trunk in line for line in heard.lines)
    assert task.record.summary.validation is None
    assert task.leaderboard() == []
    assert task.report(place / "one.html", cache=place / "cache").stat().st_size > 1000


def test_one_example_and_nothing_stored(tmp_path: Path) -> None:
    store, heard = Polymath(tmp_path / "store"), Heard()
    task = store.learn(
        digits(range(5), each=1), target="digit", name="one", work=1, cache=str(tmp_path / "cache"), listener=heard
    )
    assert any("nothing stored" in line for line in heard.lines)
    assert task.evaluate(digits(range(5), each=20, skip=20))["scores"]["accuracy"] > 0.5  # type: ignore[index,call-overload,operator]


def test_two_examples_of_every_class_validate_in_turn_and_test_nothing(slept: Consolidated, place: Path) -> None:
    store, heard = Polymath(place / "store"), Heard()
    task = store.learn(
        digits(range(5, 10), each=2),
        target="digit",
        name="two",
        work=1,
        cache=str(place / "cache"),
        listener=heard,
        split=Split(test_fraction=0.2),
        **CHEAP,
    )
    assert any("none are kept for a test" in line for line in heard.lines)
    assert task.record.summary.validation is not None
    assert task.record.summary.test is None
    assert len(task.record.members) <= 5, "so few rows weigh few heads"
    assert any("on trunk-1" in str(member["label"]) for member in task.record.members)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> tuple[Consolidated, Path, list[str]]:
    """Two tasks of pictures and two of texts, with vocabularies of their own, consolidated in one call."""
    place, heard = tmp_path_factory.mktemp("read"), Heard()
    store, cache = Polymath(place / "store"), str(place / "cache")
    for name, classes in (("low", range(3)), ("high", range(3, 6))):
        store.learn(digits(classes, each=20), target="digit", name=name, work=0.02, cache=cache, **CHEAP)
    for name, about in (("weather", ("rain", "sun")), ("work", ("cook", "sail", "code"))):
        store.learn(texts(about, each=30), target="about", name=name, work=0.02, cache=cache, **CHEAP)
    found = consolidate(store.store, wishes=Wishes(work=8, cache=cache, engine="inline", lanes=1), listener=heard)
    store.close()
    return found, place, heard.lines


def test_texts_have_a_trunk_of_their_own(read: tuple[Consolidated, Path, list[str]]) -> None:
    found, place, heard = read
    assert [(one.trunk, one.reads, one.classes) for one in found.trunks] == [
        ("trunk-1", "pictures", 6),
        ("trunk-2", "texts", 5),
    ]
    assert any(line.startswith("trunk-2: 2 tasks of texts, 5 classes") for line in heard)
    assert {one.task: one.trunk for one in found.tasks} == {
        "low": "trunk-1",
        "high": "trunk-1",
        "weather": "trunk-2",
        "work": "trunk-2",
    }
    store = Polymath(place / "store")
    assert store.task("trunk-2").record.origin[TRUNK] == ["weather", "work"]
    for one in found.tasks:
        assert one.before is not None
        assert one.after is not None
        assert one.moved == (one.after >= one.before)
        assert (store.task(one.task).record.built_on == (one.trunk,)) == one.moved
    after = [one.after for one in found.tasks if one.trunk == "trunk-2"]
    assert min(one for one in after if one is not None) > 0.8, "heads read it through another vocabulary"


def test_new_texts_are_cut_by_the_words_of_the_trunk(read: tuple[Consolidated, Path, list[str]]) -> None:
    _, place, _ = read
    store = Polymath(place / "store")
    asked = texts(("rain", "cook", "sail"), each=20, seed=1)
    given = {"target": "about", "work": 0.2, "cache": str(place / "cache"), **CHEAP}
    task = store.learn(texts(("rain", "cook", "sail"), each=5, seed=2), name="known", **given)

    def words(name: str) -> object:
        return Problem.model_validate(store.task(name).record.problem).inputs[0].subwords  # type: ignore[attr-defined]

    assert words("known") == words("trunk-2")
    assert words("known") != words("weather")
    assert any("trunk-2" in str(row["what"]) for row in task.leaderboard())
    assert task.evaluate(asked)["scores"]["accuracy"] > 0.8  # type: ignore[index,call-overload,operator]
    other = pa.table({"text": [f"кот пёс лиса {n}" for n in range(20)], "about": ["а", "б"] * 10})
    store.learn(other, name="unknown", **given)
    assert words("unknown") != words("trunk-2")


def test_texts_that_are_held_out_anywhere_teach_nothing(read: tuple[Consolidated, Path, list[str]]) -> None:
    _, place, _ = read
    store = Polymath(place / "store")
    trunk = Dataset.open(place / "cache" / "data" / str(store.task("trunk-2").record.origin["dataset"]))
    words = trunk.problem.inputs[0].subwords  # type: ignore[attr-defined]

    def said(rows: np.ndarray) -> set[str]:
        return {words.decode(trunk.inputs["text"][row]) for row in rows}

    assert len(said(trunk.validation(0))) > 10
    assert not said(trunk.validation(0)) & said(trunk.training(0))


def test_a_lone_task_of_texts_is_left_out_beside_pictures(
    read: tuple[Consolidated, Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, place, _ = read
    monkeypatch.setattr("polymath.learning.consolidate.learn", _refused)
    heard = Heard()
    wish = Wishes(work=1, cache=str(place / "cache"), engine="inline", lanes=1)
    with pytest.raises(BadInput, match="no time"):
        consolidate(Polymath(place / "store").store, wishes=wish, listener=heard, only=("low", "high", "work"))
    assert any(line == "work: left out, no other task of texts can be consolidated" for line in heard.lines)


def _refused(*_: object, **__: object) -> None:
    raise BadInput("no time")


def test_too_few_tasks_to_consolidate(tmp_path: Path) -> None:
    store = Polymath(tmp_path / "store")
    with pytest.raises(BadInput, match="0 tasks can be consolidated"):
        consolidate(store.store, wishes=Wishes(work=1, cache=str(tmp_path)), listener=Silent())


def test_tasks_whose_rows_are_gone_are_named(tmp_path: Path) -> None:
    store, heard = Polymath(tmp_path / "store"), Heard()
    store.learn(digits(range(3), each=20), target="digit", work=0.02, name="low", cache=str(tmp_path / "one"), **CHEAP)
    with pytest.raises(BadInput, match="0 tasks"):
        consolidate(store.store, wishes=Wishes(work=1, cache=str(tmp_path / "other")), listener=heard)
    assert any("low" in line and "no longer in the cache" in line for line in heard.lines)


def test_the_command_says_what_became_of_each_task(
    slept: Consolidated,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from typer.testing import CliRunner

    from polymath.app import consolidating
    from polymath.app.main import app

    monkeypatch.setattr("polymath.learning.consolidate.consolidate", lambda store, **_: slept)
    store = str(place / "store")
    consolidating.consolidate((), begin=0.0, budget="9s", seed=0, device="cpu", store=Path(store), as_json=True)
    assert Consolidated.from_json(capsys.readouterr().out) == slept
    consolidating.consolidate((), begin=0.0, budget="9s", seed=0, device="cpu", store=Path(store), as_json=False)
    said = capsys.readouterr().out
    assert "trunk-1" in said
    assert "kept: it is private" in said
    letters = Moved(task="letters", trunk="trunk-2", why="worse on the trunk", before=0.9, after=0.8)
    more = slept.replace(
        also=(Trunk(trunk="trunk-2", reads="texts", classes=4, rows=70),), tasks=(letters, *slept.tasks)
    )
    consolidating._print(more)
    first, second = capsys.readouterr().out.split("trunk-2: texts, 4 classes, 70 rows")
    assert "trunk-1: pictures, 6 classes" in first
    assert "letters" not in first
    assert "letters" in second
    assert "on trunk-2" in second
    assert "it is private" in second
    wrong = CliRunner().invoke(app, ["consolidate", "--store", str(tmp_path / "nowhere")])
    assert wrong.exit_code == 2
