"""The search for update rules end to end, on exercises of a few steps: resume, stops, leaders, adoption."""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from polymath import Polymath
from polymath.app.main import app
from polymath.engine import InLine
from polymath.inventing import (
    Invented,
    Order,
    adopt,
    adopted,
    invented,
    judging,
    lookup,
    optimizers,
    searching,
)
from polymath.inventing.bulk import ADAMW, HORIZONS
from polymath.inventing.found import entries, furthest
from polymath.inventing.insight import ablations, recurring, written
from polymath.inventing.judging import LENGTHS, Judged
from polymath.search import Ledger
from polymath.search.choices import at_random, draw, first
from polymath.search.spaces.update_rules import KNOWN as POINTS
from polymath.search.spaces.update_rules import AdoptedRule, known, update_rule, with_adopted
from polymath.spec import BadInput, loads
from polymath.store import Store
from polymath.testing import check_space
from polymath.train.recipe import GradientRecipe
from polymath.train.update import KNOWN, Expression
from polymath.train.update.behaviour import behaviour


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exercises of 12 steps, and one that is enough."""
    few = tuple(replace(one, steps=12) for one in optimizers.search_exercises()[:2])
    monkeypatch.setattr(optimizers, "search_exercises", lambda: few)


def order(**changes: object) -> Order:
    return Order(**{"name": "optimizer", "experiments": 16, "generator": "random", "lanes": 1, **changes})  # type: ignore[arg-type]


def test_the_space_keeps_the_contract_of_spaces() -> None:
    check_space(update_rule, passes=30)


@pytest.mark.parametrize(
    ("point", "name"),
    [
        ("sgd", "sgd"),
        ("adamw", "adamw"),
        ("lion", "lion"),
        ("powersign", "powersign"),
        ("powersign, linear decay", "powersign_linear"),
        ("addsign", "addsign"),
        ("addsign, linear decay", "addsign_linear"),
    ],
)
def test_what_people_made_are_points_of_the_space(point: str, name: str) -> None:
    assert behaviour(draw(update_rule, known(point)).built) == behaviour(KNOWN[name])


def test_every_known_point_names_choices_that_are_there() -> None:
    for name, values in POINTS.items():
        made = {choice.name: choice.value for choice in draw(update_rule, known(name)).trace.choices}
        assert {key: made[key] for key in values} == dict(values)


def test_a_search_finds_records_and_goes_on(short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(tmp_path / "store") as store:
        found = optimizers.search_optimizer(store, order())
        assert found.experiments == 16
        assert found.best is not None
        assert found.best == invented(store, "optimizer")[0]
        assert all(one.rung >= after.rung for one, after in zip(found.leaders, found.leaders[1:], strict=False))
        tried = {entry.number: entry for entry in Ledger(store, "optimizer").entries() if entry.rung == 0}
        assert len(tried) == 16
        hashes = [behaviour(Expression.model_validate(entry.request["part"])) for entry in tried.values()]
        assert len(set(hashes)) == len(hashes), "what behaves equally is tried once"
        assert tried[0].generator == "fixed"

        ran = []
        really = optimizers.measured
        monkeypatch.setattr(optimizers, "measured", lambda *given: ran.append(1) or really(*given))
        again = optimizers.search_optimizer(store, order())
        assert not ran, "everything stands in the ledger"
        assert replace(again, seconds=0.0) == replace(found, seconds=0.0)
        more = optimizers.search_optimizer(store, order(experiments=18))
        assert more.experiments == 18
        assert ran


def test_another_seed_under_the_same_name_takes_nothing_away(short: None, tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        more = len(POINTS) + 6  # these come first whatever the seed
        earlier = optimizers.search_optimizer(store, order(experiments=more)).leaders
        other = optimizers.search_optimizer(store, order(experiments=more, seed=1)).leaders
        assert {one.identity for one in earlier} != {one.identity for one in other}
        for one in (*earlier, *other):
            assert lookup(store, one.name) == one
        ended = [entry for entry in entries(store, "optimizer") if entry.ok]
        assert len(furthest(ended)) == len({entry.trace.digest for entry in ended}) > len({one.number for one in ended})
        Ledger(store, "optimizer").add(ended[0].replace(dataset="a digest", key="of a task that was learned"))
        assert {entry.dataset for entry in entries(store, "optimizer")} == {"optimizer"}


def test_a_search_without_time_for_its_yardstick_ends_on_time(short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(InLine):
        def submit(self, text: str, *, timeout_seconds: float | None = None) -> Future[str]:
            return Future()

    monkeypatch.setattr(optimizers, "engine_of", lambda *_: Slow(optimizers.answered))
    found = optimizers.search_optimizer(None, order(experiments=None, budget_seconds=0.2))
    assert found.best is None
    assert 0.2 <= found.seconds < 2


def test_a_stopped_search_leaves_what_it_found(short: None, tmp_path: Path) -> None:
    class Stops:
        count = 0

        def say(self, text: str) -> None: ...

        def tried(self, experiment: object, **_: object) -> None:
            self.count += 1
            if self.count == 8:
                raise KeyboardInterrupt

    with Store.open(tmp_path / "store") as store:
        with pytest.raises(KeyboardInterrupt):
            optimizers.search_optimizer(store, order(watcher=Stops()))
        assert invented(store, "optimizer")
        assert lookup(store, "optimizer").name.startswith("optimizer/")
        assert optimizers.search_optimizer(store, order()).experiments == 16


def test_a_rule_that_dies_is_a_recorded_failure(short: None) -> None:
    yards = [optimizers.Yardstick((0.0,) * len(HORIZONS), 1e-3, (0.0,) * len(optimizers.RUNGS))] * 2
    outcome = optimizers.measured(Expression(update=["*", 1e-12, "g"]), 0, yards)
    assert not outcome["ok"]
    assert "died" in outcome["reason"]
    request = {"part": "g", "rung": 0, "yardsticks": [one.to_json() for one in yards]}
    assert loads(optimizers.answered(json.dumps(request)))["ok"]


def test_adamw_is_its_own_yardstick_on_every_rung(short: None) -> None:
    yards = [optimizers.yardstick(number) for number in range(2)]
    assert optimizers.Yardstick.of_json(json.loads(json.dumps(yards[0].to_json()))) == yards[0]
    for number in range(2):
        assert optimizers.measured(ADAMW, number, yards)["score"] == pytest.approx(0, abs=1e-4)
    # far ahead on one exercise and level on the other leads less than the mean says, but on the first rung
    ahead = [replace(yards[0], own=tuple(own - 1 for own in yards[0].own)), yards[1]]
    assert optimizers.measured(ADAMW, 0, ahead)["score"] == pytest.approx(0.5, abs=1e-4)
    assert optimizers.measured(ADAMW, 1, ahead)["score"] == pytest.approx(0.0, abs=1e-4)


def test_adopted_rules_have_names_of_the_store(short: None, tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        optimizers.search_optimizer(store, order(experiments=6))
        best = lookup(store, "optimizer")
        mine = adopt(store, best, name="my-rule")
        assert (mine.name, mine.origin, mine.expression) == ("my-rule", best.name, best.expression)
        assert adopted(store, "rule") == {"my-rule": mine}
        assert adopted(store, "cell") == {}
        assert lookup(store, "my-rule") == mine
        with pytest.raises(BadInput, match="no name for a part"):
            adopt(store, best, name="My rule")
        with pytest.raises(BadInput, match=r"nothing that was found.*optimizer/"):
            lookup(store, "optimizer/99999")
    with pytest.raises(BadInput, match="optimizer, cell"):
        searching("kettle")


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"experiments": None}, "needs a budget"), ({"generator": "oracle"}, "generator"), ({"lanes": 0}, "lanes")],
)
def test_wrong_orders_are_one_message(changes: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        optimizers.search_optimizer(None, order(**changes))


def test_the_commands_search_and_adopt(short: None, tmp_path: Path) -> None:
    run = CliRunner()
    where = ["--store", str(tmp_path / "store")]
    picture = tmp_path / "search.svg"
    asked = ["search", "optimizer", "--experiments", "12", "--lanes", "1", "--generator", "random", *where]
    answer = run.invoke(app, [*asked, "--json", "--picture", str(picture)])
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert found["experiments"] == 12
    assert {"formula", "score", "expression", "name"} <= set(found["best"])
    assert picture.read_text().startswith("<svg")
    printed = run.invoke(app, asked).stdout
    assert found["best"]["formula"] in printed
    assert "polymath adopt optimizer/" in printed

    file = tmp_path / "rule.py"
    answer = run.invoke(app, ["adopt", "optimizer", "--as", "mine", "--python", str(file), "--json", *where])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["name"] == "mine"
    compile(file.read_text(), "rule.py", "exec")
    assert "polymath" not in [line.split()[1] for line in file.read_text().splitlines() if line.startswith("import ")]
    assert run.invoke(app, ["adopt", "optimizer", *where]).exit_code == 2
    assert run.invoke(app, ["search", "kettle", "--experiments", "1", *where]).exit_code == 2
    assert run.invoke(app, ["search", "optimizer", *where]).exit_code == 2


def test_a_report_judges_compares_and_takes_apart(short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = tuple(replace(one, steps=20) for one in judging.judging_exercises() if one.name in ("diabetes", "factors"))
    monkeypatch.setattr(judging, "judging_exercises", lambda: few)
    monkeypatch.setattr(judging, "SEEDS", (100,))
    page = tmp_path / "page.html"
    asked = ["search", "optimizer", "--experiments", "12", "--lanes", "1", "--store", str(tmp_path / "store")]
    answer = CliRunner().invoke(app, [*asked, "--report", str(page), "--json"])
    assert answer.exit_code == 0, answer.output
    found, html = json.loads(answer.stdout), page.read_text()
    assert found["report"] == str(page)
    for said in (
        "Where it wins and where it loses",
        "What recurs among the best",
        "What each part is worth",
        "factors",
    ):
        assert said in html
    assert "powersign" in html
    assert "<script" not in html
    with Store.open(tmp_path / "store", read_only=True) as store:
        judged = [body for _, body in store.records(judging.KIND)]
    assert {body["exercise"] for body in judged} == {"diabetes", "factors"}
    assert len(judged) in (2 * 5, 2 * 6), "the winner may be one of those beside it"
    ran: list[int] = []
    really = judging.answered
    monkeypatch.setattr(judging, "answered", lambda text: ran.append(1) or really(text))
    assert CliRunner().invoke(app, [*asked, "--report", str(page)]).exit_code == 0
    assert not ran, "what was judged stands in the store"


# Judging and insight ----------------------------------------------------------------------------------------------
def test_steps_to_a_target_are_read_from_the_curves() -> None:
    adamw = (3.0, 2.5, 2.0, 1.5, 1.0)
    judged = Judged(
        {
            "adamw": {"a": adamw, "b": adamw},
            "quick": {"a": (2.0, 1.5, 1.0, 0.5, 0.2), "b": (2.5, 2.0, 1.5, 1.0, 0.5)},
            "slow": {"a": (3.5, 3.0, 2.5, 2.0, 1.5), "b": (float("inf"),) * 5},
        }
    )
    assert judged.steps("adamw", "a") == 1.0
    assert judged.wins("adamw") == 0.0
    assert judged.steps("quick", "a") == pytest.approx(LENGTHS[0], abs=1e-6)
    assert judged.steps("quick", "b") == pytest.approx(LENGTHS[1], abs=1e-6)
    assert judged.steps("slow", "a") == pytest.approx(LENGTHS[3], abs=1e-6)
    assert judged.steps("slow", "b") == 2.0
    assert judged.mean_steps("quick") == pytest.approx((0.5 * 0.7) ** 0.5, rel=1e-6)
    assert judged.wins("quick") == 1.0
    assert judged.wins("slow") == 0.0
    low, high = judged.interval("quick")
    assert low <= judged.mean_steps("quick") <= high


def test_what_recurs_among_the_best_is_found() -> None:
    agreement = ["exp", ["*", ["sign", "g"], ["sign", "m"]]]
    good = [Expression(update=["*", agreement, other]) for other in ("g", "m", "adam", "rmsprop")]
    generator = np.random.default_rng(0)
    rest = [draw(update_rule, at_random(generator)).built for _ in range(40)]
    found = recurring([*good, *rest], best=4)
    assert found[0].part == ["exp", ["*", ["sign", "g"], ["sign", ["mean", "g", 0.9]]]]
    assert found[0].best == 4
    assert found[0].lift > 5


def test_ablations_leave_out_each_part_once() -> None:
    rule = Expression(update=["*", ["exp", ["*", ["sign", "g"], ["sign", "m"]]], "g"])
    remains = [written(one.graph) for _, one in ablations(rule)]
    mean = ["mean", "g", 0.9]
    assert "g" in remains
    assert ["*", ["*", ["sign", "g"], ["sign", mean]], "g"] in remains
    assert ["*", ["exp", ["*", ["sign", "g"], mean]], "g"] in remains
    assert len({json.dumps(one) for one in remains}) == len(remains)
    assert written(rule.graph) not in remains
    assert ablations(Expression(update="g")) == []


# Adopted rules in recipes -----------------------------------------------------------------------------------------
def test_an_adopted_rule_is_one_more_option_of_a_recipe() -> None:
    rule = AdoptedRule(name="mine", rule=KNOWN["lion"], rate=0.1)
    usual = GradientRecipe(rule="adamw", learning_rate=2e-3, weight_decay=0.05)
    default = draw(lambda choose: with_adopted(choose, usual, [rule]), first)
    assert default.built == usual
    taken = draw(lambda choose: with_adopted(choose, usual, [rule]), lambda o: 1.0 if o.options else 2e-4).built
    assert taken.rule == KNOWN["lion"]
    assert taken.learning_rate == pytest.approx(2e-4)
    assert taken.weight_decay == usual.weight_decay
    middle = draw(lambda choose: with_adopted(choose, usual, [rule]), lambda o: 1.0 if o.options else first(o)).built
    assert middle.learning_rate == pytest.approx(0.1 * 2e-3, rel=0.01), "near AdamW's, times the ratio of the search"
    nothing = draw(lambda choose: with_adopted(choose, usual, []), first)
    assert nothing.built == usual
    assert not nothing.trace.choices


def test_learn_tries_what_its_store_has_adopted(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{3 * a - b:.3f}" for a, b in generator.normal(size=(150, 2))]
    (tmp_path / "sums.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    with Store.open(tmp_path / "knowledge") as store:
        known_rule = Invented(kind="rule", name="x", formula="", score=0.0, expression={"update": ["sign", "m"]})
        adopt(store, known_rule, name="mine")
    with Polymath(tmp_path / "knowledge") as knowledge:
        wishes = {"work": 0.08, "engine": "inline", "space": "paths", "generator": "random", "cache": str(tmp_path)}
        knowledge.learn(tmp_path / "sums.csv", target="y", name="sums", **wishes)
        taken = [
            entry
            for entry in Ledger(knowledge.store, "sums").entries()
            if any(choice.name == "recipe.adopted" and choice.value == "mine" for choice in entry.trace.choices)
        ]
        assert any(entry.ok for entry in taken)
        recipes = [entry.request["recipe"]["rule"] for entry in taken if entry.ok]
        assert all(Expression.model_validate(one) == KNOWN_SIGN for one in recipes)


KNOWN_SIGN = Expression(update=["sign", "m"])
