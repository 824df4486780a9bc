"""One task being learned: gathers finished experiments, keeps the best combination, publishes it in one atomic step."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..gating import Gate
from ..model.alike import few
from ..model.combine import Member, mean_head, merge
from ..model.decode.views import VIEWS
from ..model.layers.scale import Scale
from ..model.path import Gene, Path
from ..model.replies import with_responses
from ..model.spread import spread
from ..predicting import HEAD, KIND, Summary, TaskRecord, needed
from ..problem import Dataset, Feature, Reply
from ..search import Experiment
from ..search.spaces.parents import Parent
from ..spec import canonical, plain, sha256
from ..store import Store
from ..train.recipe import GradientRecipe
from .chosen import best_together, safe_mean
from .costs import FREE, Charges, Cost
from .examined import EVIDENCE_VALUES, Judged, examine, scores_of, shown_score
from .moving import Trial, best_moves, moves_of, with_moves
from .parents import imported
from .viewing import Viewed, best_views, most_views

if TYPE_CHECKING:
    import pyarrow as pa

PUBLISH_EVERY_SECONDS = 4.0
"""Between two publications while learning; the first one is immediate."""
CANDIDATES = 24
"""Best experiments among which the ensemble is chosen."""
CONTINUABLE = 8
"""Best experiments whose checkpoints are kept after the end, for a run with more budget."""
JUDGED_ROWS = 20_000
"""Validation rows on which ensembles are compared at most."""


@dataclass(frozen=True)
class Provenance:
    """Where a task comes from, and what it may be used for."""

    origin: dict[str, Any]
    """Source, fingerprint, seed, budget, versions, device."""
    unused: tuple[dict[str, Any], ...] = ()
    """Rows that were not used, with the reason."""
    parents: tuple[Parent, ...] = ()
    """What it could build upon."""
    private: bool = False
    """Other tasks may not build upon it."""
    table: pa.Table | None = None
    """The rows as they came, for scores of whole answers (`Feature.said_scores`); None = without these."""
    gate: Gate | None = None
    """The task that will be asked first."""
    cost: Cost = FREE
    """What is taken off a score for what a model costs."""

    @property
    def lent(self) -> dict[str, set[str]]:
        """Task -> addresses of the weights that it lends."""
        found: dict[str, set[str]] = {}
        for parent in self.parents:
            found.setdefault(parent.task, set()).update(parent.path.addresses)
        return found


class Study:
    """Experiments of one task so far. `publish` writes the best combination as the task."""

    def __init__(
        self,
        store: Store,
        scratch: Store,
        dataset: Dataset,
        *,
        name: str,
        begin: float,
        provenance: Provenance,
        members: int | None = None,
    ) -> None:
        """`members`: experiments in the final path at most; None = as many as help."""
        self.most_members = members
        self.store, self.scratch, self.dataset, self.name = store, scratch, dataset, name
        self.begin, self.provenance = begin, provenance
        self.experiments: dict[int, Experiment] = {}
        self.members: dict[int, Member] = {}
        self.best: Member | None = None
        self._rows: np.ndarray | None = None
        self._judged: np.ndarray | None = None
        self._published = -math.inf
        self._last: TaskRecord | None = None
        self.ends: float | None = None
        """`time.monotonic()` at which all must be done, the test too; None = it may take its time."""
        lent = set[str]().union(*provenance.lent.values())
        self._charges = Charges(provenance.cost, dataset, lent=lent, fetch=scratch.get_tensors)
        self._answering: tuple[Path, Path, dict[str, Any]] | None = None

    # Gathering ---------------------------------------------------------------------------------------------------
    def add(self, experiment: Experiment) -> None:
        """Takes in a finished rung; publishes when it is the best so far and the last time was a while ago."""
        self.experiments[experiment.number] = experiment
        result = experiment.results[-1]
        outcome = result.outcome
        if not result.ok or not outcome.get("predictions") or not outcome.get("paths"):
            return
        tensors = self.scratch.get_tensors(str(outcome["predictions"]))
        rows = tensors["rows"]
        if self._rows is None:
            self.take_rows(rows)
        assert self._rows is not None
        if not np.array_equal(rows, self._rows):
            return
        member = Member(
            number=experiment.number,
            score=result.worth,
            predictions={f.name: tensors[f"output/{f.name}"] for f in self.dataset.problem.outputs},
            paths=self._paths(outcome["paths"]),
        )
        earlier = self.members.get(member.number)
        if earlier is not None and earlier.score >= member.score:
            return  # it has begun to overfit: the rung before stays
        self.members[member.number] = member
        if len(self.members) > 4 * CANDIDATES:  # predictions of thousands of experiments would fill the memory
            worst = sorted(self.members, key=lambda number: (self.members[number].score, -number))
            for number in worst[: 2 * CANDIDATES]:
                del self.members[number]
        if self.best is None or member.score > self.best.score:
            self.best = member
            if time.monotonic() - self._published > PUBLISH_EVERY_SECONDS:
                self.publish("learning")

    def take_rows(self, rows: np.ndarray) -> None:
        """Settles the validation rows, in their order, and those on which ensembles are compared."""
        self._rows = rows
        generator = np.random.default_rng(0)
        few = len(rows) <= JUDGED_ROWS
        self._judged = np.arange(len(rows)) if few else np.sort(generator.choice(len(rows), JUDGED_ROWS, replace=False))

    def _paths(self, found: Sequence[Mapping[str, Any]]) -> tuple[Path, ...]:
        """A path per fold; one for all where folds differ in a linear head alone: the mean of these heads."""
        paths = tuple(Path.model_validate(path) for path in found)
        ends = set(paths[0].outputs.values())
        differ = {
            gene.name for path in paths[1:] for gene, own in zip(path.genes, paths[0].genes, strict=True) if gene != own
        }
        kinds = {str(getattr(gene.layer, "kind", "")) for gene in paths[0].genes if gene.name in differ}
        if not differ or not differ <= ends or kinds != {"linear"}:
            return paths
        return (mean_head(paths, fetch=self.scratch.get_tensors, put=self.scratch.put_tensors),)

    def charged(self, score: float, outcome: Mapping[str, Any]) -> float:
        """The score of an experiment after what its paths cost."""
        paths = self._paths(outcome["paths"]) if outcome["paths"] else ()
        return self._charges.charged(score, [self._charges.bill(paths)])

    def adopt(self, experiment: Experiment, judged: tuple[np.ndarray, Member]) -> None:
        """Takes in an experiment whose answers, and the rows that they are for, were found elsewhere."""
        self.experiments[experiment.number] = experiment
        self._rows, self.best = judged
        self._judged = np.arange(len(self._rows))
        self.members = {self.best.number: self.best}

    @property
    def num_failed(self) -> int:
        return sum(1 for e in self.experiments.values() if e.failed)

    def failures(self) -> str:
        """The reasons of failed experiments, for an error message."""
        reasons = [
            str(e.results[-1].outcome.get("reason", "")).strip().splitlines()
            for e in self.experiments.values()
            if e.failed
        ]
        first = sorted({lines[-1] for lines in reasons if lines})
        return f"{self.num_failed} experiments failed: {'; '.join(first[:3])}" if first else "no experiment finished"

    def tidy(self) -> None:
        """Removes the checkpoints of all but the best experiments: the largest things in the scratch store.

        What a run with more budget would continue stays, and the predictions and weights of all, for its ensemble.
        """
        best = set(sorted(self.members, key=lambda number: -self.members[number].score)[:CONTINUABLE])
        for number, experiment in self.experiments.items():
            for rung, result in enumerate(experiment.results):
                checkpoint = result.outcome.get("checkpoint")
                if checkpoint and (number not in best or rung + 1 < len(experiment.results)):
                    self.scratch.discard(str(checkpoint))

    # Publishing --------------------------------------------------------------------------------------------------
    def publish(self, state: Literal["learning", "stopped", "done"]) -> TaskRecord | None:
        """Writes the task: while learning its best member, at the end the ensemble, calibrated and tested once."""
        if self.best is None:
            return None
        self._published = time.monotonic()
        weights = {self.best.number: 1.0} if state == "learning" else self._choose()
        seen = self._viewed(weights) if state != "learning" else self._plain(weights)
        members = [with_moves(one, seen.moves.get(one.number, ()), self.dataset) for one in self.members.values()]
        path = merge(members, weights, self.dataset.problem.outputs)
        path = spread(path, fetch=self.scratch.get_tensors, put=self.scratch.put_tensors)
        raw, targets = seen.raw, self._targets(seen.rows)
        calibration: dict[str, dict[str, Any]] = {}
        for feature in self.dataset.problem.outputs:
            found = dict(feature.calibrate(raw[feature.name], targets[feature.name]))
            temperature = found.pop("temperature", None)
            if isinstance(temperature, float) and temperature > 0:
                path = scaled(path, feature.name, 1.0 / temperature)
                raw = {**raw, feature.name: raw[feature.name] / np.float32(temperature)}
            views = {VIEWS: seen.views} if seen.views > 1 else {}
            calibration[feature.name] = self._useful(feature, found, raw, targets) | views
        path = self._with_responses(path, raw, targets, calibration)
        shown = Judged(seen.rows, raw, targets, self._scores(raw, targets, calibration))
        if not self.worthy(shown, calibration):
            return None
        record = self._record(state, path, weights, calibration, shown)
        self._write(record, path)
        return record

    def _useful(
        self,
        feature: Feature,
        found: dict[str, Any],
        raw: Mapping[str, np.ndarray],
        targets: Mapping[str, np.ndarray],
    ) -> dict[str, Any]:
        """What calibrating found. For maps of pixels nothing where answers by it score worse, as by other metrics."""
        if feature.answer.kind != "map":
            return found
        plain, told = (
            self.dataset.problem.score(self._scores(raw, targets, {feature.name: one})) for one in ({}, found)
        )
        return {} if told < plain else found

    def _with_responses(
        self,
        path: Path,
        raw: Mapping[str, np.ndarray],
        targets: Mapping[str, np.ndarray],
        calibration: dict[str, dict[str, Any]],
    ) -> Path:
        """The path with the set of responses for outputs that are replies; found once for each path."""
        problem = self.dataset.problem
        for feature in problem.outputs:
            if isinstance(feature, Reply):
                if self._answering is None or self._answering[0] != path:
                    judged = raw[feature.name], targets[feature.name]
                    fetch, put = self.scratch.get_tensors, self.scratch.put_tensors
                    self._answering = path, *with_responses(path, problem, feature, judged, fetch=fetch, put=put)
                _, path, calibration[feature.name] = self._answering
        return path

    def publish_unjudged(self, experiments: Sequence[Experiment], paths: Sequence[Path]) -> TaskRecord:
        """Writes the mean of paths that could be judged on no row."""
        self.experiments |= {experiment.number: experiment for experiment in experiments}
        members = [Member(one.number, 0.0, {}, (path,)) for one, path in zip(experiments, paths, strict=True)]
        weights = {member.number: 1.0 / len(members) for member in members}
        path = merge(members, weights, self.dataset.problem.outputs)
        calibration: dict[str, dict[str, Any]] = {feature.name: {} for feature in self.dataset.problem.outputs}
        record = self._record("done", path, weights, calibration, None)
        self._write(record, path)
        return record

    def worthy(self, judged: Judged, calibration: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether what was made is to be published; `judged`: its calibrated answers for the validation rows."""
        return True

    def _choose(self) -> dict[int, float]:
        """Weights by number of the experiments that the final path is made of."""
        problem = self.dataset.problem
        assert self.best is not None and self._rows is not None and self._judged is not None
        alone = {self.best.number: 1.0}
        if self.most_members == 1 or any(output.shown is not None for output in problem.outputs):
            return alone
        ranked = sorted(self.members.values(), key=lambda m: (-m.score, m.number))[:CANDIDATES]
        if few(len(self._rows), problem.outputs):
            lent, targets = set[str]().union(*self.provenance.lent.values()), self._targets(self._rows)
            return (
                safe_mean(ranked, problem, targets, is_head=self._is_head, lent=lent, most=self.most_members) or alone
            )
        charged, targets = self._charges.charging(ranked), self._targets(self._rows[self._judged])
        return best_together(ranked, problem, targets, rows=self._judged, charged=charged)

    def _is_head(self, number: int) -> bool:
        """Whether an experiment is a cheap head that looks at the row, not a net."""
        experiment = self.experiments[number]
        trained = isinstance(getattr(experiment.sketch.built, "recipe", None), GradientRecipe)
        return not trained and experiment.label != "constant"

    def _combined(self, weights: Mapping[int, float]) -> dict[str, np.ndarray]:
        members = [self.members[number] for number in weights]
        return {
            f.name: f.combine([m.predictions[f.name] for m in members], list(weights.values()))
            if len(members) > 1
            else members[0].predictions[f.name]
            for f in self.dataset.problem.outputs
        }

    def _plain(self, weights: Mapping[int, float]) -> Viewed:
        """What was kept of the chosen experiments' answers for the validation rows."""
        assert self._rows is not None
        return Viewed(1, self._rows, self._combined(weights))

    def _viewed(self, weights: Mapping[int, float]) -> Viewed:
        """The same as the mean over as many views of a picture as make the answers better."""
        plain, problem = self._plain(weights), self.dataset.problem
        built = [self.experiments[number].sketch.built for number in weights]
        if all(output.answer.kind == "vector" and output.shown is None for output in problem.outputs):
            return self._moved(plain, weights) if self.provenance.cost == FREE else plain
        most = most_views(built) if all(output.answer.kind == "map" for output in problem.outputs) else 1
        if most == 1:
            return plain
        members, paths = [self.members[number] for number in weights], {}
        for place, fold in enumerate(dict.fromkeys(self.dataset.folds[plain.rows].tolist())):
            parts = [replace(member, paths=(member.paths[place],)) for member in members]
            paths[fold] = merge(parts, weights, problem.outputs)

        def judge(seen: Viewed) -> float:
            return problem.score(self._scores(seen.raw, self._targets(seen.rows)))

        fetch = self.scratch.get_tensors
        return best_views(plain, paths, self.dataset, most=most, judge=judge, fetch=fetch, ends=self.ends)

    def _moved(self, plain: Viewed, weights: Mapping[int, float]) -> Viewed:
        """Answers about whole pictures as the mean over views of them, by members that have a path for every fold."""
        folds = len(np.unique(self.dataset.folds[plain.rows]))
        members = [self.members[number] for number in weights]
        shown = {m.number: moves_of(self.experiments[m.number].sketch.built) for m in members if len(m.paths) == folds}
        tries = [{number: one[level] for number, one in shown.items()} for level in range(2)]

        def judge(seen: Viewed) -> tuple[float, ...]:
            scores = self._scores(seen.raw, self._targets(seen.rows))
            surprise = [one["log_loss"] for one in scores.values() if "log_loss" in one]
            return self.dataset.problem.score(scores), -sum(surprise)

        trial = Trial(plain, members, weights, self.dataset, self.scratch.get_tensors)
        return best_moves(trial, tries=tries, judge=judge, ends=self.ends)

    def _targets(self, rows: np.ndarray | None) -> dict[str, np.ndarray]:
        assert rows is not None
        return {name: np.asarray(array[rows]) for name, array in self.dataset.targets.items()}

    def _scores(
        self,
        raw: Mapping[str, np.ndarray],
        targets: Mapping[str, np.ndarray],
        calibration: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> dict[str, dict[str, float]]:
        """Scores by output; with `calibration`, those of what the user is told."""
        return scores_of(self.dataset.problem, raw, targets, calibration)

    def _record(
        self,
        state: Literal["learning", "stopped", "done"],
        path: Path,
        weights: Mapping[int, float],
        calibration: dict[str, dict[str, Any]],
        validation: Judged | None,
    ) -> TaskRecord:
        problem, dataset = self.dataset.problem, self.dataset
        nothing: dict[str, dict[str, float]] = {feature.name: {} for feature in problem.outputs}
        scores = {"validation": nothing if validation is None else validation.scores}
        tested, interval = None, None
        if state != "learning" and len(dataset.test):
            fetch, table = self.scratch.get_tensors, self.provenance.table
            tested, interval = examine(path, dataset, calibration, fetch=fetch, table=table, ends=self.ends)
            scores["test"] = tested.scores
        shown = None if state == "learning" else tested or validation
        evidence = None if shown is None else self.store.put_tensors(shown.evidence(EVIDENCE_VALUES))
        content = {"path": path.identities(), "outputs": path.outputs, "calibration": calibration, "scores": scores}
        digest = sha256(canonical(plain(content)).encode())
        return TaskRecord(
            name=self.name,
            state=state,
            problem=problem.model_dump(mode="json"),
            path=path.model_dump(mode="json"),
            calibration=plain(calibration),
            summary=self._summary(path, validation, tested, interval=interval, digest=digest),
            scores=plain(scores),
            members=tuple(
                {"number": n, "label": self.experiments[n].label, "weight": round(w, 4)} for n, w in weights.items()
            ),
            origin=self.provenance.origin,
            unused=self.provenance.unused,
            private=self.provenance.private,
            gate=self.provenance.gate,
            built_on=(built_on := self._built_on(path, weights)),
            imported=imported(self.store, built_on),
            evidence=evidence,
        )

    def _summary(
        self,
        path: Path,
        validation: Judged | None,
        tested: Judged | None,
        *,
        interval: tuple[float, float] | None,
        digest: str,
    ) -> Summary:
        dataset = self.dataset
        results = [e.results for e in self.experiments.values() if e.results]
        return Summary(
            metric=self.metric_name,
            greater_is_better=self.greater_is_better,
            validation=None if validation is None else _finite(self._shown(validation.scores)),
            test=None if tested is None else _finite(self._shown(tested.scores)),
            interval=interval,
            seconds=round(time.monotonic() - self.begin, 3),
            work=round(sum(r[-1].work for r in results), 6),
            experiments=len(results),
            failed=self.num_failed,
            rows_used=int((dataset.folds >= -1).sum()),
            rows_unused=sum(one["count"] for one in self.provenance.unused if one["what"] == "row"),
            rows_tested=len(tested.rows) if tested is not None and len(tested.rows) < len(dataset.test) else None,
            parameters=self._parameters(path.addresses),
            parameters_new=self._parameters(path.addresses - set().union(*self.provenance.lent.values())),
            result_digest=digest,
        )

    def _built_on(self, path: Path, weights: Mapping[int, float]) -> tuple[str, ...]:
        """Tasks whose genes are in the path, and those from whose genes, cloned and trained on, a member has grown."""
        tasks = {parent.name: parent.task for parent in self.provenance.parents}
        chosen = {str(c.value) for number in weights for c in self.experiments[number].trace.choices}
        found = {task for name, task in tasks.items() if name in chosen}
        lent = self.provenance.lent
        left = path.addresses.difference(*(lent[task] for task in found))
        # A gene that several tasks share comes from the one of which the path holds the most.
        for task in sorted(lent, key=lambda task: (len(lent[task] - path.addresses), task)):
            if lent[task] & left:
                found.add(task)
                left -= lent[task]
        return tuple(sorted(found))

    @property
    def metric_name(self) -> str:
        """Name of the score shown: the metric of the one output, 'skill' for several."""
        outputs = self.dataset.problem.outputs
        return self.dataset.problem.metric_of(outputs[0].name).name if len(outputs) == 1 else "skill"

    @property
    def greater_is_better(self) -> bool:
        outputs = self.dataset.problem.outputs
        return self.dataset.problem.metric_of(outputs[0].name).greater_is_better if len(outputs) == 1 else True

    def _shown(self, scores: Mapping[str, Mapping[str, float]]) -> float:
        return shown_score(self.dataset.problem, scores)

    def _parameters(self, addresses: set[str]) -> int:
        return sum(sum(t.size for t in self.scratch.get_tensors(address).values()) for address in sorted(addresses))

    def _write(self, record: TaskRecord, path: Path) -> None:
        """Layers first, then the record that names them, then the name: each step leaves a store that can be read."""
        addresses = sorted(path.addresses)
        for address in addresses:
            if not self.store.has(address):
                self.store.put(self.scratch.get(address))
        gated = sorted(needed(record) - set(addresses))
        refs = [*addresses, *gated, *([] if record.evidence is None else [record.evidence])]
        address = self.store.add_record(KIND, record.model_dump(mode="json"), refs=refs)
        self.store.set_head(HEAD + self.name, address)
        self._last = record


def scaled(path: Path, output: str, factor: float) -> Path:
    """The path with one output multiplied: a temperature as a gene, so that every user of the path is calibrated."""
    name = f"temperature.{output}"
    gene = Gene(name=name, layer=Scale(factor=factor), inputs=(path.outputs[output],), frozen=True)
    return Path(genes=(*path.genes, gene), outputs={**path.outputs, output: name})


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
