"""The policy of the controller: an LSTM that answers the choices of a space one by one. No torch: a proposal is quick.

Every option of every choice has a row in a table, found by the name of the choice and the token of the option, so that
nested, conditional and growing spaces need nothing more, and what was learned on one problem holds on the next.

Axes: V rows, D the units of a state, G = 4 D its gates (input, forget, cell, output, as torch orders them).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....spec import canonical, sha256
from ...choices import Choice, Offer, Trace, as_json

BINS = 8
"""Parts that a range is cut into; a range of few whole numbers has one part for each of them."""
FEW = 10
SPREAD = 0.08
"""Fresh weights are drawn evenly from -0.08 to 0.08 (Zoph and Le 2017, section 4.1)."""
TABLE = ("embedding", "head", "bias")
"""Arrays with one row per option; all others are the net itself."""
ROWS = 64
"""Of a table at first; it doubles when it is full."""
START = "start"
"""The row that every pass begins with."""
SKIP = ("false", "true")
"""The tokens of a skip connection."""


@dataclass(frozen=True)
class Decision:
    """One open choice and how it was answered."""

    step: int
    """Of the LSTM, whose state answered it."""
    rows: tuple[int, ...]
    """Of the table, one for each option."""
    taken: int
    """The option that was taken."""
    chance: float = 0.0
    """Natural logarithm of the probability with which it was taken; 0 where that is not known."""
    other: int | None = None
    """Of a skip connection: the step of the layer that it may come from, -1 for one without choices."""


@dataclass
class Episode:
    """One pass through a space as the LSTM saw it."""

    inputs: list[list[tuple[int, float]]] = field(default_factory=list)
    """Of each step: rows of the table and their weights."""
    decisions: list[Decision] = field(default_factory=list)


class Policy:
    """The weights, made as they are needed: fresh ones depend on the name alone."""

    def __init__(self, *, layers: int, units: int, fingerprint: Mapping[str, float]) -> None:
        self.layers, self.units = layers, units
        self.rows: dict[str, int] = {}
        self.known: Mapping[str, np.ndarray] = {}
        self.arrays: dict[str, np.ndarray] = {
            "embedding": np.zeros((ROWS, units), np.float32),
            "head": np.zeros((ROWS, units), np.float32),
            "bias": np.zeros(ROWS, np.float32),
        }
        for layer in range(layers):
            self.arrays[f"lstm{layer}.input"] = fresh(f"lstm{layer}.input", 4 * units, units)
            self.arrays[f"lstm{layer}.state"] = fresh(f"lstm{layer}.state", 4 * units, units)
            self.arrays[f"lstm{layer}.bias"] = fresh(f"lstm{layer}.bias", 4 * units)
        self.arrays["skip.earlier"] = fresh("skip.earlier", units, units)
        self.arrays["skip.here"] = fresh("skip.here", units, units)
        self.arrays["skip.score"] = fresh("skip.score", units)
        self.fingerprint = fingerprint
        self._options: dict[Any, tuple[list[str], tuple[int, ...]]] = {}

    def problem(self, fingerprint: Mapping[str, float] | None = None) -> list[tuple[int, float]]:
        """The first input of the LSTM: a linear map of the numbers that describe the problem."""
        numbers = self.fingerprint if fingerprint is None else fingerprint
        known = [name for name in sorted(numbers) if math.isfinite(numbers[name])]
        size = math.sqrt(max(len(known), 1))
        return [
            (self.row(START), 1.0),
            *((self.row(f"{START} {name}"), math.asinh(numbers[name]) / size) for name in known),
        ]

    def options(self, offer: Offer) -> tuple[list[str], tuple[int, ...]]:
        """The tokens of the options of a choice and their rows in the table."""
        key: Any = (offer.name, offer.options, offer.low, offer.high, offer.values, *map(type, offer.values))
        try:
            found = self._options.get(key)
        except TypeError:  # an option that is a list or a dict
            key, found = None, None
        if found is None:
            tokens = tokens_of(offer)
            found = tokens, tuple(self.row(f"{offer.name}={token}") for token in tokens)
            if key is not None:
                self._options[key] = found
        return found

    def row(self, key: str) -> int:
        """The row of an option, or of a number that describes the problem; a new one at first sight."""
        found = self.rows.get(key)
        if found is not None:
            return found
        number = self.rows[key] = len(self.rows)
        if number >= len(self.arrays["bias"]):
            for name in TABLE:
                old = self.arrays[name]
                self.arrays[name] = np.concatenate([old, np.zeros_like(old)])
        vector = self.known.get(f"option {key}")
        if vector is None or vector.shape != (2 * self.units + 1,):
            vector = fresh(key, 2 * self.units + 1)
        self._put(number, vector)
        return number

    def _put(self, number: int, vector: np.ndarray) -> None:
        self.arrays["embedding"][number] = vector[: self.units]
        self.arrays["head"][number] = vector[self.units : -1]
        self.arrays["bias"][number] = vector[-1]

    def memory(self) -> dict[str, np.ndarray]:
        """All weights by names that mean the same in another problem: of the net, and of each option."""
        kept = {name: np.array(array) for name, array in self.known.items() if name.startswith("option ")}
        table = np.concatenate([self.arrays[name].reshape(len(self.arrays["bias"]), -1) for name in TABLE], axis=1)
        kept |= {f"option {key}": table[number].copy() for key, number in self.rows.items()}
        return kept | {name: array.copy() for name, array in self.arrays.items() if name not in TABLE}

    def trust(self, share: float) -> None:
        """Goes back towards fresh weights, to keep a share of what was learned; 0: begins anew."""
        self.known = {
            name: share * array + (1 - share) * fresh(name.removeprefix("option "), *array.shape)
            for name, array in self.memory().items()
        }
        for key, number in self.rows.items():
            self._put(number, self.known[f"option {key}"])
        for name in self.arrays:
            if name not in TABLE:
                self.arrays[name] = self.known[name].copy()

    def remember(self, weights: Mapping[str, np.ndarray]) -> bool:
        """Begins with what `memory` gave; returns whether it fits this net. Says nothing of options unknown there."""
        net = [name for name in self.arrays if name not in TABLE]
        if any(name not in weights or weights[name].shape != self.arrays[name].shape for name in net):
            return False
        self.known = {name: np.asarray(array, np.float32) for name, array in weights.items()}
        for name in net:
            self.arrays[name] = self.known[name].copy()
        return True


def fresh(key: str, *shape: int) -> np.ndarray:
    """Weights for a name never seen before."""
    generator = np.random.default_rng(int(sha256(key.encode())[:16], 16))
    return generator.uniform(-SPREAD, SPREAD, shape).astype(np.float32)


# One pass through a space ----------------------------------------------------------------------------------------
Pick = Callable[[Offer, Sequence[str], "np.ndarray | None"], tuple[int, float]]
"""Takes one of the options, named by their tokens, of which the probabilities are given; gives it and the answer."""


class Pass:
    """Answers the choices of one pass through a space with a policy, and keeps what the LSTM saw.

    Skip connections by anchor points (Zoph and Le 2017, section 3.2). A space names the choice whether the part A is
    fed by the earlier part B "A.from.B", with the options False and True, and gives those of one part in a row. They
    are answered by one state, the anchor of A: P(B feeds A) = sigmoid(v tanh(W_earlier h_B + W_here h_A)), where h_B
    is the state at the latest choice whose name is B or begins with "B.", and zero where there is none, as for the
    input of a net. The next input of the LSTM is the mean of the embeddings of these answers.
    """

    def __init__(
        self, policy: Policy, pick: Pick, *, forward: bool = True, first: list[tuple[int, float]] | None = None
    ) -> None:
        self.episode = Episode()
        self._policy, self._pick, self._forward = policy, pick, forward
        self._next = policy.problem() if first is None else first
        self._anchor = ""
        self._latest: dict[str, int] = {}
        self._states: list[np.ndarray] = []
        self._hidden = [np.zeros(policy.units, np.float32) for _ in range(policy.layers)]
        self._cells = [np.zeros(policy.units, np.float32) for _ in range(policy.layers)]

    def __call__(self, offer: Offer) -> float:
        if not offer.is_open:
            return offer.clip(offer.low)
        tokens, rows = self._policy.options(offer)
        part, _, source = offer.name.partition(".from.")
        is_skip = bool(source) and sorted(tokens) == list(SKIP)
        if not is_skip or self._anchor != part:
            self._step()
        other = self._latest.get(source, -1) if is_skip else None
        step = len(self.episode.inputs) - 1
        chances = self._chances(rows, tokens, other) if self._forward else None
        taken, answer = self._pick(offer, tokens, chances)
        chance = 0.0 if chances is None else math.log(max(float(chances[taken]), 1e-12))
        if is_skip and tokens[0] != SKIP[0]:  # False stands first, in whatever order a space offers it
            self.episode.decisions.append(Decision(step, rows[::-1], 1 - taken, chance, other))
        else:
            self.episode.decisions.append(Decision(step, rows, taken, chance, other))
        self._note(rows[taken], offer.name, part if is_skip else "", step)
        return answer

    def _note(self, row: int, name: str, anchor: str, step: int) -> None:
        rows = [row] if not anchor or self._anchor != anchor else [*(n for n, _ in self._next), row]
        self._next = [(n, 1 / len(rows)) for n in rows]
        self._anchor = anchor
        words = name.split(".")
        for length in range(1, len(words) + 1):
            self._latest[".".join(words[:length])] = step

    def _step(self) -> None:
        self.episode.inputs.append(self._next)
        if not self._forward:
            return
        arrays = self._policy.arrays
        rows, weights = [row for row, _ in self._next], np.array([w for _, w in self._next], np.float32)
        given = weights @ arrays["embedding"][rows]
        for layer in range(self._policy.layers):
            gates = arrays[f"lstm{layer}.input"] @ given + arrays[f"lstm{layer}.state"] @ self._hidden[layer]
            gates += arrays[f"lstm{layer}.bias"]
            enter, forget, _, leave = (0.5 + 0.5 * np.tanh(0.5 * gates)).reshape(4, -1)  # the logistic function
            cell = np.tanh(gates[2 * self._policy.units : 3 * self._policy.units])
            self._cells[layer] = forget * self._cells[layer] + enter * cell
            given = self._hidden[layer] = leave * np.tanh(self._cells[layer])
        self._states.append(given)

    def _chances(self, rows: tuple[int, ...], tokens: Sequence[str], other: int | None) -> np.ndarray:
        arrays, here = self._policy.arrays, self._states[-1]
        if other is None:
            index = list(rows)
            logits = arrays["head"][index] @ here + arrays["bias"][index]
        else:
            mixed = arrays["skip.here"] @ here
            if other >= 0:
                mixed = mixed + arrays["skip.earlier"] @ self._states[other]
            logit = float(arrays["skip.score"] @ np.tanh(mixed))
            logits = np.array([logit * (word == SKIP[1]) for word in tokens])
        raised = np.exp((logits - logits.max()).astype(np.float64))
        return np.asarray(raised / raised.sum())


def tokens_of(offer: Offer) -> list[str]:
    """The tokens of a choice: its options as JSON, else the parts of its range."""
    if offer.options:
        if offer.values:
            return [canonical(as_json(value, name=offer.name)) for value in offer.values]
        return [f"#{number}" for number in range(offer.options)]
    if offer.whole and offer.high - offer.low < FEW:
        return [str(number) for number in range(int(offer.low), int(offer.high) + 1)]
    return [f"{number}/{BINS}" for number in range(BINS)]


def part_of(offer: Offer, answer: float) -> int:
    """Which token of a range an answer belongs to."""
    if offer.whole and offer.high - offer.low < FEW:
        return int(answer) - int(offer.low)
    return min(int(offer.place(answer) * BINS), BINS - 1)


def sampled(generator: np.random.Generator, *, heat: float = 1.0, even: float = 0.0) -> Pick:
    """Takes an option at random by its probability; `heat` > 1 makes the unlikely likelier, `even` is the share of
    picks that look at no probability. In a part of a range, any place.
    """

    def pick(offer: Offer, tokens: Sequence[str], chances: np.ndarray | None) -> tuple[int, float]:
        assert chances is not None
        chances = chances ** (1 / heat)
        total = np.cumsum((1 - even) * chances / chances.sum() + even / len(chances))
        taken = min(int(np.searchsorted(total, generator.random() * total[-1], side="right")), len(tokens) - 1)
        if offer.options:
            return taken, float(taken)
        if len(tokens) != BINS or (offer.whole and offer.high - offer.low < FEW):
            return taken, offer.clip(offer.low + taken)
        return taken, offer.at((taken + generator.random()) / BINS)

    return pick


def traced(trace: Trace) -> Pick:
    """Takes what a trace took, by token where the options have been put in another order since."""
    choices: dict[str, Choice] = {choice.name: choice for choice in trace.choices}

    def pick(offer: Offer, tokens: Sequence[str], chances: np.ndarray | None) -> tuple[int, float]:
        choice = choices.get(offer.name)
        if choice is None:
            return 0, offer.clip(offer.low)
        if offer.options:
            taken = tokens.index(choice.token) if choice.token in tokens else int(offer.clip(choice.answer))
            return taken, float(taken)
        answer = offer.clip(choice.answer)
        return part_of(offer, answer), answer

    return pick
