"""What is said of a winner: where it wins and loses, which parts recur among the best, what each part is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing

from ..engine import Engine
from ..search import Entry
from ..spec import canonical, loads
from ..store import Store
from ..train.update import KNOWN, Expression, parse
from . import judging, optimizers
from .found import Inventions, Section, entries, furthest
from .insight import ablations, recurring
from .judging import BASELINE, Judged
from .plan import workers

BESIDE = ("adamw", "momentum", "lion", "powersign", "addsign")
"""What a found rule is held against."""
WINNER = "found"
ABLATED_ON = 1
"""The rung on which parts are left out: all exercises of the search, with seeds that no first rung saw."""
MOST_RECURRING = 12


def rule_report(store: Store, found: Inventions, *, lanes: int) -> list[Section]:
    """The sections about the best rule of a search; trains on the judging exercises what is not known yet."""
    assert found.best is not None
    best = parse(found.best.expression)
    with closing(workers(judging.answered, lanes=lanes)) as judges:
        judged = judging.judge({**{name: KNOWN[name] for name in BESIDE}, WINNER: best}, judges, store=store)
    with closing(workers(optimizers.answered, lanes=lanes)) as ours:
        parts = _ablation(store, best, ours)
    return [_against(judged), _by_exercise(judged), _recurring(entries(store, found.search)), parts]


def _against(judged: Judged) -> Section:
    rows = []
    for rule in judged.curves:
        low, high = judged.interval(rule)
        rows.append([rule, f"{judged.mean_steps(rule):.3f}", f"{low:.3f} to {high:.3f}", f"{judged.wins(rule):.0%}"])
    said = (
        f"{len(judged.exercises)} exercises that no search sees, of other data and other kinds of nets. Steps to what "
        "AdamW reaches at the end of its decay, over AdamW's own steps: geometric mean, below 1 is better; every rule "
        "is tuned by the same number of learning rates. Ratios are cut at 0.5 and 2."
    )
    return Section("Judged beside what people made", said, ["rule", "steps", "95 % of exercises", "wins"], rows)


def _by_exercise(judged: Judged) -> Section:
    order = sorted(judged.exercises, key=lambda one: judged.steps(WINNER, one))
    rules = list(judged.curves)
    rows = [
        [one, *(f"{judged.steps(rule, one):.2f}" for rule in rules)]
        + [f"{judged.loss(rule, one):.4g}" for rule in (BASELINE, WINNER)]
        for one in order
    ]
    wins = [one for one in order if judged.steps(WINNER, one) < 1]
    said = f"It wins on {', '.join(wins) or 'none'}; the rest it loses. The worst case stands last."
    head = ["exercise", *(f"steps, {rule}" for rule in rules), f"loss, {BASELINE}", f"loss, {WINNER}"]
    return Section("Where it wins and where it loses", said, head, rows)


def _recurring(tried: Sequence[Entry]) -> Section:
    rules = [parse(one.request["part"]) for one in furthest(tried)]
    rows = [
        [optimizers.said(Expression(update=one.part)), f"{one.best}", f"{one.every}", f"{one.lift:.1f}"]
        for one in recurring(rules)[:MOST_RECURRING]
    ]
    said = f"Sub-expressions that more of the best rules hold than of all {len(rules):,} that trained."
    return Section("What recurs among the best", said, ["part", "of the best", "of all", "times as often"], rows)


def _ablation(store: Store, best: Expression, engine: Engine) -> Section:
    yards = [one.to_json() for one in optimizers.yardsticks(store, engine)]
    variants: list[tuple[str, Expression]] = [("nothing", best)]
    variants += [(optimizers.said(Expression(update=part)), remains) for part, remains in ablations(best)]
    futures = [
        engine.submit(canonical({"part": rule.model_dump(mode="json"), "rung": ABLATED_ON, "yardsticks": yards}))
        for _, rule in variants
    ]
    outcomes: list[Mapping[str, float]] = [loads(future.result()) for future in futures]
    whole = float(outcomes[0].get("score", 0.0))
    rows = []
    for (part, remains), outcome in zip(variants, outcomes, strict=True):
        score = outcome.get("score") if outcome["ok"] else None
        shown = ("died", "") if score is None else (f"{score:.3f}", f"{score - whole:+.3f}")
        rows.append([part, optimizers.said(remains), *shown])
    said = (
        "The winner with one part replaced by what it is computed from, on the exercises of the search with other "
        "seeds. Score: doublings of AdamW's steps, higher is better."
    )
    return Section("What each part is worth", said, ["left out", "what remains", "score", "change"], rows)
