"""The space of one problem: which method, and for nets which path and recipe; what it may build upon; what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ...model.layers.oriented_gradients import OrientedGradients
from ...model.path import Path
from ...model.prefix import trained_work
from ...model.probes import Facts, NamesakesProbe, Probe
from ...problem import Dataset, Problem, Reply
from ...problem.form import Form
from ...spec import Spec
from ...train.job import Context, probe_work
from ...train.recipe import Recipe
from ..choices import Answer, Choose, Offer, Recorder, Sketch, Space, Trace, as_traced, draw, first
from . import gradients
from .cells import AdoptedCell, offering
from .images import mirrors_keep_meaning
from .own import TUNED, Own, continued
from .parents import Parent, features
from .pieces import hand_made, recalling, small
from .probes import SETTINGS, STORED
from .rows import problem_space
from .update_rules import AdoptedRule, with_adopted

EXAMPLES = {"vector": (3e5, 12.0, 80.0), "tokens": (2e5, 5.0, 40.0), "map": (2e6, 20.0, 80.0)}
"""Form -> examples that a full training sees, its fewest and most epochs: longer ones overfitted where we looked."""
SENTENCE_EXAMPLES = (1.5e6, 10.0, 100.0)
"""The same where texts are written."""
REPLY_EXAMPLES = (4e6, 10.0, 40.0)
"""The same where replies are told apart: what is wrong differs from batch to batch, so rows wear out late."""
PIXEL_EXAMPLES = (6e4, 30.0, 400.0)
"""The same where every pixel is answered, so that every picture is thousands of examples."""
EXPLORE_RUNG = 0.04
"""Share of a lane's budget that one experiment may take before a committing plan has chosen."""
WHOLE = {"patches": (10.0, EXPLORE_RUNG), "gradients": (10.0, EXPLORE_RUNG), "letters": (3.0, 0.15)}
"""Heads that cannot stop half way: work units per second on one modest core, and share of the budget for one fold."""


class Design(Spec):
    """What the space of a problem builds: a path and its recipe, or a cheap head, which is its own recipe."""

    method: str
    path: Path | None = None
    recipe: Recipe
    parent: str = ""
    """The task whose genes it begins with, or several."""
    starts: tuple[Path, ...] = ()
    """By fold what to go on from instead of `path`: see `Job.starts`."""


@dataclass(frozen=True)
class Settings:
    """What the plan needs to know beside the dataset."""

    dataset: str
    facts: Facts
    problem: Problem
    context: Context
    folds: tuple[int, ...]
    seed: int
    methods: tuple[str, ...]
    """Cheap heads and 'path', in the order in which they are tried first."""
    seconds: float | None
    """The whole time budget, for plans that do not change when a killed run goes on."""
    space: str = "all"
    """Which of `SPACES`."""
    mirrored: bool = False
    """Pictures mean the same mirrored left to right."""
    layers: tuple[str, ...] = ()
    """Kinds of the user's own layers."""
    cells: tuple[AdoptedCell, ...] = ()
    """Recurrent cells that the store has adopted."""
    rules: tuple[AdoptedRule, ...] = ()
    """Update rules that the store has adopted."""
    parents: tuple[Parent, ...] = ()
    """What may be built upon, the most promising first."""
    namesakes: tuple[Parent, ...] = ()
    """Stored tasks that tell classes of the same names apart, up to their answers about these."""
    own: tuple[Own, ...] = ()
    """Nets that this task learned before, from which new ones go on; the heaviest first."""
    again: tuple[Trace, ...] = ()
    """Choices that were among this task's best before, made again on what is now known."""


COPIES, FEW_ROWS = 5, 400
"""Of every picture, moved, that a cheap head on a stored path sees, and rows up to which it is shown them. Eleven
scripts, two of each letter: 0.899 became 0.913, and 0.914 with nine copies; five of each: 0.938 became 0.941."""
MOST_SPELLED = 20_000
"""Rows up to which letters of texts are counted: from more, subwords are known as well."""
STORED_FIRST = 4
"""Parents on which every new task tries a cheap head, before anything is trained."""

SPACES: dict[str, Callable[[str], bool]] = {
    "all": lambda method: True,
    "paths": lambda method: method == "path",
    "heads": lambda method: method != "path",
    "families": lambda method: method == "path",
    "small": lambda method: method in ("path", "linear", "ngrams"),
    "recall": lambda method: True,
}
"""Name of a space -> which methods it holds. `families`: paths that a person designed, no free architectures; `small`:
those at their smallest, and heads that are quick; `recall`: nets that write keep training rows."""
WAYS: dict[str, Callable[[Choose], Choose]] = {"families": hand_made, "small": small, "recall": recalling}
"""Name of a space -> how it narrows the choices of nets."""


def fingerprint(problem: Problem, facts: Facts) -> dict[str, float]:
    """Numbers by which generators compare problems: sizes and kinds of what goes in and comes out."""
    found = sizes(facts.ports, rows=facts.rows, width=sum(facts.outputs.values()))
    found["outputs"] = float(len(problem.outputs))
    for output in problem.outputs:
        found[f"gives {output.type}"] = 1.0
    return found


def sizes(ports: Mapping[str, Form], *, rows: int, width: int) -> dict[str, float]:
    """The part of a fingerprint that does not depend on the kinds of outputs; `width`: of all heads."""
    forms = ports.values()
    found = {
        "rows": math.log10(1 + rows),
        "columns": math.log10(1 + sum(form.width for form in forms if form.kind == "vector")),
        "head_width": math.log10(1 + width),
        "side": max((math.log10(max(form.size)) for form in forms if form.kind == "map"), default=0.0),
    }
    return found | {f"is {kind}": float(kind in {form.kind for form in forms}) for kind in ("vector", "tokens", "map")}


def mirrored(dataset: Dataset) -> bool:
    """Whether pictures of this dataset keep their class when mirrored; False where there is nothing to judge by."""
    rows = dataset.training()
    for port, form in dataset.problem.ports.items():
        for feature in dataset.problem.outputs:
            if form.kind == "map" and feature.averaged == "categories" and feature.answer.kind == "vector":
                chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), 4000)).astype(np.int64))]
                targets = feature.single(np.asarray(dataset.targets[feature.name][chosen]))
                chosen, targets = chosen[targets >= 0], targets[targets >= 0]
                return len(chosen) > 50 and mirrors_keep_meaning(np.asarray(dataset.inputs[port][chosen]), targets)
    return False


def methods(problem: Problem, facts: Facts, *, seconds: float | None) -> tuple[str, ...]:
    """What suits this problem, cheapest first; 'path' comes early, so that its speed is known."""
    kinds = answers(problem)
    probes = {name: settings(_default()) for name, settings in SETTINGS.items()}
    names = [name for name, probe in probes.items() if kinds <= probe.gives and probe.suits(problem.ports)]
    names = [name for name in names if name != "nearest" or facts.rows <= 20_000]
    names = [name for name in names if name != "gradients" or gradients.suits(problem.ports, rows=facts.rows)]
    names = [name for name in names if name != "letters" or (problem.vocabularies and facts.rows <= MOST_SPELLED)]
    if seconds is not None:
        for name in [name for name in WHOLE if name in names]:
            rate, share = WHOLE[name]
            path = gradients.alone(problem.ports, tuple(facts.outputs)) if name == "gradients" else None
            if probe_work(probes[name], path, facts) / rate >= share * seconds:
                names.remove(name)
    firsts = ("constant", "linear", "gradients", "trees", "ngrams", "letters", "pixels")
    early = [name for name in firsts if name in names]
    heavy = any(form.kind != "vector" for form in facts.ports.values())
    # Twice, from other seeds: where time is short, both are trained to the end.
    paths = ("path", "path") if heavy else ("path",)
    return (*early, *paths, *(name for name in names if name not in early))


def answers(problem: Problem) -> set[str]:
    """Kinds of answers that a path must give: forms, or 'shown' for what is learned by being shown the answer."""
    return {output.answer.kind if output.shown is None else "shown" for output in problem.outputs}


def usual_work(problem: Problem, rows: int) -> float:
    """Multiply-adds per example of the path with all defaults."""
    path, _ = problem_space(_default(), problem, rows=rows)
    return path.work(problem.all_ports)


def _default() -> Recorder:
    return Recorder(first)


class ProblemSpace:
    """Everything that may be tried on one problem, as a function of choices."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._methods = tuple(name for name in settings.methods if SPACES[settings.space](name))
        self._heads_fit = answers(settings.problem) == {"vector"}
        self._firsts = self._first_tries()

    def draw(self, answer: Answer) -> Sketch:
        return draw(self._space, answer, measure=self._proxies)

    def fixed(self, number: int) -> Sketch | None:
        """The first experiments try every method once, with its defaults."""
        if number >= len(self._firsts):
            return None
        return draw(*self._firsts[number], measure=self._proxies)

    def _space(self, choose: Choose) -> Design:
        return self._design(choose, choose("method", self._options()), self.settings.parents)

    def _design(self, choose: Choose, method: str, parents: tuple[Parent, ...]) -> Design:
        settings = self.settings
        if method == "own":
            return self._own(choose, settings.own, TUNED)
        if method == "namesakes":
            names = [one.name for one in settings.namesakes]
            named = settings.namesakes[names.index(choose("namesakes.from", names))]
            path = features(named, tuple(output.name for output in settings.problem.outputs))
            return Design(method=method, path=path, recipe=NamesakesProbe(), parent=named.task)
        if method == "stored":
            names = [parent.name for parent in parents]
            parent = parents[names.index(choose("stored.from", names))]
            head = STORED[choose("stored.head", list(STORED))](choose)
            path = self._seen(choose, parent)
            head = head.replace(copies=_copies(settings.facts, path, head))
            return Design(method=method, path=path, recipe=head, parent=parent.task)
        if method == "gradients":
            head = SETTINGS[method](choose)
            path = gradients.alone(settings.problem.ports, tuple(settings.facts.outputs))
            return Design(method=method, path=path, recipe=head.replace(copies=_copies(settings.facts, path, head)))
        if method != "path":
            return Design(method=method, recipe=SETTINGS[method](choose))
        path, recipe = problem_space(
            offering(WAYS[settings.space](choose) if settings.space in WAYS else choose, settings.cells),
            settings.problem,
            rows=settings.facts.rows,
            mirrored=settings.mirrored,
            layers=settings.layers,
            parents=parents,
        )
        recipe = with_adopted(choose, recipe, settings.rules)
        names = [gene.name for gene in path.genes if gene.weights]
        tasks = dict.fromkeys(parent.task for parent in parents)
        begun = [task for task in tasks if any(name.startswith(f"{task}.") for name in names)]
        return Design(method=method, path=path, recipe=recipe, parent=" and ".join(begun))

    def _seen(self, choose: Choose, parent: Parent) -> Path:
        """What a head on a parent reads: what the parent gives, and of few pictures their gradients beside it."""
        ports, outputs = self.settings.problem.ports, tuple(output.name for output in self.settings.problem.outputs)
        facts, read = self.settings.facts, {port: ports[port] for port in parent.path.ports}
        if not gradients.suits(read, rows=facts.rows):
            return features(parent, outputs)
        light = gradients.light(parent, ports, width=facts.width)
        taken = choose("stored.beside", ["gradients", "nothing"] if light else ["nothing", "gradients"])
        return gradients.beside(parent, ports, outputs) if taken == "gradients" else features(parent, outputs)

    def _own(self, choose: Choose, nets: tuple[Own, ...], tuned: tuple[str, ...]) -> Design:
        path, starts, recipe = continued(choose, nets, tuned)
        return Design(method="own", path=path, starts=starts, recipe=recipe)

    def _first_tries(self) -> list[tuple[Space, Answer]]:
        """Every method once. Prototypes on the most promising parent first of all; before the first net cheap heads on
        other parents, then what was best for this task before, learned anew, and its own nets, trained on."""

        def one(method: str, parents: tuple[Parent, ...] = ()) -> tuple[Space, Answer]:
            return lambda choose: self._design(choose, choose("method", [method]), parents), first

        def own(net: Own, tuned: str) -> tuple[Space, Answer]:
            def space(choose: Choose) -> Design:
                choose("method", ["own"])
                return self._own(choose, (net,), (tuned,))

            return space, first

        settings = self.settings
        before: list[tuple[Space, Answer]] = []
        heads: list[tuple[Space, Answer]] = []
        if self._heads_fit and settings.space in ("all", "heads"):
            before += [one("stored", (parent,)) for parent in settings.parents[:STORED_FIRST]]
            # On the best of them prototypes too, the better head for few examples: it is the cheapest thing there is.
            heads = [(space, _prototypes) for space, _ in before[:1]]
            heads += [one("namesakes") for _ in settings.namesakes[:1]]
        before += self._again([one(method) for method in self._methods] if settings.again else [])
        before += [own(net, tuned) for place, net in enumerate(settings.own) for tuned in net.tuned[: 3 - place]]
        place = next((n for n, method in enumerate(self._methods) if method == "path"), len(self._methods))
        tries = [one(method) for method in self._methods]
        early = self._methods[:1].count("constant")
        return [*tries[:early], *heads, *tries[early:place], *before, *tries[place:]]

    def _again(self, usual: list[tuple[Space, Answer]]) -> list[tuple[Space, Answer]]:
        """What was best before, but for what is always tried."""
        known = {draw(*one).identity for one in usual}
        tries = [(self._space, as_traced(trace, changed=self._changed(trace))) for trace in self.settings.again]
        return [one for one in tries if draw(*one).identity not in known]

    def _changed(self, trace: Trace) -> dict[str, float]:
        """The place of a trace's method among those that are offered now."""
        value = next((str(choice.value) for choice in trace.choices if choice.name == "method"), "")
        options = self._options()
        return {"method": float(options.index(value))} if value in options else {}

    def _options(self) -> list[str]:
        """Methods worth more than one try: those with settings."""
        again = [name for name in self._methods if name not in ("constant", "linear", "nearest")]
        often = ["trees"] if "trees" in again else []  # twice as likely: on tables they are seldom beaten, and quick
        heads = self._heads_fit and self.settings.space in ("all", "heads")
        stored = ["stored"] if self.settings.parents and heads else []
        paths = [*dict.fromkeys(name for name in again if name == "path")]
        own = ["own"] if self.settings.own and self.settings.space in ("all", "paths") else []
        return [*paths, *own, *stored, *(n for n in again if n != "path"), *often] or list(self._methods)

    def _proxies(self, design: Design) -> dict[str, float]:
        facts = self.settings.facts
        if isinstance(design.recipe, Probe):
            return {"work": math.log10(1e-3 + probe_work(design.recipe, design.path, facts))}
        assert design.path is not None
        macs = design.path.work(facts.ports)
        return {
            "work": math.log10(1e-3 + self.full_work(design.path)),
            "multiply_adds": math.log10(1 + macs),
            "depth": float(len(design.path.genes)),
        }

    def full_work(self, path: Path) -> float:
        """Work of a training as long as is ever useful, by what the path reads."""
        facts = self.settings.facts
        rows = facts.training_rows
        kinds = {facts.ports[port].kind for port in path.ports}
        limits = [limit for kind, limit in EXAMPLES.items() if kind in kinds] or [EXAMPLES["vector"]]
        if any(output.answer.kind == "map" for output in self.settings.problem.outputs):
            limits = [PIXEL_EXAMPLES]
        if any(output.answer.kind == "tokens" for output in self.settings.problem.outputs):
            limits = [SENTENCE_EXAMPLES]
        if any(isinstance(output, Reply) for output in self.settings.problem.outputs):
            limits = [REPLY_EXAMPLES]
        epochs = max(min(max(most / max(rows, 1), low), high) for most, low, high in limits)
        return 3e-9 * epochs * rows * self.macs(path) * len(self.settings.folds)

    def macs(self, path: Path) -> float:
        """Multiply-adds of a step of training for one example: frozen genes are computed once for all."""
        return trained_work(path, self.settings.facts.ports)


def _copies(facts: Facts, path: Path, head: Probe) -> int:
    """Of few pictures several: each of them is one more pass through what is stored."""
    pictures = any(facts.ports[port].kind == "map" for port in path.ports)
    # A random projection is not frozen: it would ask for the pictures themselves.
    plain = getattr(head, "projected", 0) == 0
    return COPIES if pictures and plain and facts.rows <= FEW_ROWS else 1


def _prototypes(offer: Offer) -> float:
    """Answers as `first`, with prototypes for the head on a stored path."""
    return float(list(STORED).index("prototypes")) if offer.name == "stored.head" else first(offer)


def label(design: Design) -> str:
    """A design in a few words for people."""
    if isinstance(design.recipe, Probe) and design.starts:
        return f"{design.recipe.method} on its own features"
    if isinstance(design.recipe, Probe):
        beside = design.path is not None and any(isinstance(g.layer, OrientedGradients) for g in design.path.genes)
        read = [*([design.parent] if design.parent else []), *(["oriented gradients"] if beside else [])]
        return f"{design.recipe.method} on {' and '.join(read)}" if read else design.method
    assert design.path is not None
    if design.starts:
        return f"{describe(design.path)}, continued"
    return describe(design.path) + (f", from {design.parent}" if design.parent else "")


def describe(path: Path) -> str:
    """A path in a few words for people: its kinds of layers, repeats counted."""
    kinds: list[str] = []
    for gene in path.genes:
        kinds.append(str(getattr(gene.layer, "kind", "")))
    words: list[str] = []
    for kind in kinds:
        if words and words[-1].split(" x")[0] == kind:
            count = int(words[-1].split(" x")[1]) + 1 if " x" in words[-1] else 2
            words[-1] = f"{kind} x{count}"
        else:
            words.append(kind)
    return " > ".join(words)
