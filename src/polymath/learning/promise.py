"""Which parents will help a new task: learned from what earlier tasks of the store gained by building upon others.

A formula says what is likely before anything is known (rows, classes, equal kinds of input). Once the ledger holds
enough tries, a ridge regression of their gains takes its place: a pure function of the ledger and of the tasks in the
store. muNet (Gesmundo and Dean 2022, arXiv:2205.10937) tries all tasks in rotation instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..search.generators import Past
from ..search.spaces.parents import MOST_SEVERAL, NOTHING, SEVERAL
from ..search.spaces.probes import SETTINGS

LEAST_GAINS = 20
"""Parents tried on earlier problems below which the formula stands: a regression on nine numbers needs some more."""
RIDGE = 3.0
"""Strength, in gains that say nothing beside those that were seen; numbers are brought to one size before."""
SHRUNK = 2.0
"""Tries of a lender that count as much as what is known of all others."""
SIZES = ("rows", "columns", "head_width", "side")
KINDS = ("is vector", "is tokens", "is map")
LARGEST = 4.0
"""Of a gain: a score that broke down says no more than one that was merely bad."""
METHOD = "method"
CHOSEN = ("stored.from", "start from", *(f"{SEVERAL}.{place}" for place in range(MOST_SEVERAL)))
"""Choices that name a parent."""


@dataclass(frozen=True)
class Lender:
    """What is known of a task, or of knowledge from outside, before it is built upon."""

    name: str
    sizes: Mapping[str, float]
    """Of its problem, as in the fingerprints of problems."""
    classes: float
    """Logarithm of those that it tells apart."""
    trunk: bool
    """Made of several tasks, for all of them."""
    outside: bool


@dataclass(frozen=True)
class Gain:
    """How much better than the best cheap head on raw inputs a problem was answered with the help of a lender."""

    problem: str
    lender: str
    fingerprint: Mapping[str, float]
    gain: float
    """As a share of what that cheap head was better than the constant."""


def gains(past: Iterable[Past]) -> tuple[Gain, ...]:
    """The best try of each parent on each earlier problem on which cheap heads were tried too."""
    found: dict[tuple[str, str], Gain] = {}
    for one in past:
        tries = [({c.name: c.value for c in news.trace.choices}, news.score) for news in one.news if news.ok]
        constant = [score for chosen, score in tries if chosen.get(METHOD) == "constant"]
        raw = [score for chosen, score in tries if chosen.get(METHOD) in SETTINGS]
        if not constant or len(raw) < 2:
            continue
        room = max(max(raw) - constant[0], 1e-3 * max(abs(constant[0]), 1e-3))
        for chosen, score in tries:
            for name in {str(chosen[choice]) for choice in CHOSEN if choice in chosen} - {NOTHING, SEVERAL}:
                lender = name.rpartition(":")[0]
                gain = float(np.clip((score - max(raw)) / room, -LARGEST, LARGEST))
                before = found.get((one.problem, lender))
                if before is None or before.gain < gain:
                    found[one.problem, lender] = Gain(one.problem, lender, one.fingerprint, gain)
    return tuple(found[key] for key in sorted(found))


def expected(
    lenders: Sequence[Lender], seen: Sequence[Gain], fingerprint: Mapping[str, float]
) -> dict[str, float] | None:
    """Lender -> expected gain on a problem; None where too little is known. Lenders that are gone teach nothing."""
    known = {lender.name: lender for lender in lenders}
    seen = [gain for gain in seen if gain.lender in known]
    if len(seen) < LEAST_GAINS:
        return None
    mean = float(np.mean([gain.gain for gain in seen]))
    # What a lender gave to others, never to the very problem that is to be explained.
    x = np.array([_numbers(known[one.lender], one.fingerprint, _usual(one.lender, one.problem, seen)) for one in seen])
    y = np.array([gain.gain for gain in seen]) - mean
    centre, spread = x.mean(0), x.std(0)
    spread[spread < 1e-9] = np.inf  # a number that never differed says nothing
    z = (x - centre) / spread
    weights = np.linalg.solve(z.T @ z + RIDGE * np.eye(z.shape[1]), z.T @ y)
    asked = np.array([_numbers(lender, fingerprint, _usual(lender.name, "", seen)) for lender in lenders])
    answers = mean + (asked - centre) / spread @ weights
    return {lender.name: float(answer) for lender, answer in zip(lenders, answers, strict=True)}


def _usual(lender: str, problem: str, seen: Sequence[Gain]) -> float:
    """Mean gain by a lender on problems other than this one, drawn towards the mean of all lenders there."""
    others = [gain for gain in seen if gain.problem != problem]
    own = [gain.gain for gain in others if gain.lender == lender]
    mean = float(np.mean([gain.gain for gain in others])) if others else 0.0
    return (sum(own) + SHRUNK * mean) / (len(own) + SHRUNK)


def _numbers(lender: Lender, fingerprint: Mapping[str, float], usual: float) -> list[float]:
    """What the gain of a lender on a problem is explained by."""
    apart = [abs(lender.sizes.get(size, 0.0) - fingerprint.get(size, 0.0)) for size in SIZES]
    kinds = [kind for kind in KINDS if fingerprint.get(kind)]
    alike = sum(bool(lender.sizes.get(kind)) for kind in kinds) / max(len(kinds), 1)
    own = [lender.sizes.get("rows", 0.0), lender.classes, float(lender.trunk), float(lender.outside)]
    return [*own, alike, sum(apart), fingerprint.get("rows", 0.0), fingerprint.get("head_width", 0.0), usual]
