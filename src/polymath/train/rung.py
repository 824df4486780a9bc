"""One rung of one experiment: a pure function of specs and addresses, called by the engine in a worker process."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as Folder
from typing import TypeAlias

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from ..model.build import PathModule, build
from ..model.layers import bring
from ..model.path import Path
from ..model.probes import Facts, Material, Probe
from ..model.probes.copies import copied
from ..problem.dataset import Dataset
from ..problem.features._pixels import PixelTarget
from ..problem.features.base import Feature
from ..problem.form import Form
from ..spec import canonical, loads
from ..store import Store
from . import fit
from .augment import Augmenter
from .batches import Order, Source, evaluation_size, sample
from .features import FrozenFeatures, View, view
from .job import Context, Job, Outcome, Point, probe_work
from .norms import refresh
from .paired import shown_ports
from .recipe import Augmentation, GradientRecipe

PREPARE_ROWS = 4096
"""Training rows shown to fresh layers (bin edges, medians, whitening)."""
PREPARE_VALUES = 60_000_000
"""... and so many values of one port at most: a quarter of a gigabyte."""
NORM_ROWS, NORM_LEAST, NORM_SHARE = 2048, 512, 0.03
"""Training rows on which averaged weights measure their batch norms: at most, at least, and as a share of the cost of
the rung's training, of which all took 5 % in a rung of 50 steps. On digits 512 score as 2048 do, 256 a point less."""
NORM_LEAST_PIXELS = 64
"""At least, where every pixel is answered: a picture shows thousands of places, and costs as much more."""
FOR_SCORING = 0.15
"""Share of a probe's time kept back for turning it into a path and scoring that: thousands of trees take a while."""
FOR_ENDING = 0.03
"""Share of a job's seconds kept back for storing and scoring what was trained."""


class Failed(Exception):
    """The experiment died in a way that is its own result."""


class Runner:
    """What an engine runs: `{"job": ..., "context": ...}` -> JSON of the outcome. Each process gets its own, empty.

    The dataset and the scratch store of its last job stay open: a short rung must not wait for them.
    """

    def __init__(self) -> None:
        self._dataset: tuple[_Stamp, Dataset] | None = None
        self._store: tuple[_Stamp, Store] | None = None

    def __call__(self, text: str) -> str:
        given = loads(text)
        context = Context.model_validate(given["context"])
        bring(context.layers)
        job = Job.model_validate(given["job"])
        try:
            outcome = run(job, context, dataset=self.dataset(context), store=self.store(context))
        except BaseException:
            self.close()
            raise
        return outcome.to_json()

    def __reduce__(self) -> tuple[type[Runner], tuple[()]]:
        return Runner, ()

    def dataset(self, context: Context) -> Dataset:
        """The job's dataset, opened anew if it is another one or its folder was replaced."""
        stamp = _stamp(Folder(context.dataset_folder) / "dataset.json")
        if self._dataset is None or stamp is None or self._dataset[0] != stamp:
            self._dataset = stamp, Dataset.open(context.dataset_folder)
        return self._dataset[1]

    def store(self, context: Context) -> Store:
        """The job's scratch store, opened (or made) anew if it is another one or its folder was replaced."""
        stamp = _stamp(Folder(context.scratch) / "FORMAT")
        if self._store is None or stamp is None or self._store[0] != stamp:
            self.close()
            opened = Store.open(context.scratch, scratch=True)
            self._store = _stamp(Folder(context.scratch) / "FORMAT"), opened
        return self._store[1]

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store[1].close()
        self._store = None


_Stamp: TypeAlias = tuple[str, int, int] | None


def _stamp(file: Folder) -> _Stamp:
    """Tells a file apart from another one at its place; None if there is none."""
    try:
        state = file.stat()
    except FileNotFoundError:
        return None
    return str(file), state.st_ino, state.st_mtime_ns


def run_json(text: str) -> str:
    """What a `Runner` does, for a single job."""
    runner = Runner()
    try:
        return runner(text)
    finally:
        runner.close()


def request(job: Job, context: Context) -> str:
    """The text that a `Runner` takes."""
    return canonical({"job": job.model_dump(mode="json"), "context": context.model_dump(mode="json")})


def run(job: Job, context: Context, *, dataset: Dataset | None = None, store: Store | None = None) -> Outcome:
    """Run one rung. An experiment that dies (diverged, out of memory) gives `ok=False`; only our mistakes raise.

    `dataset` and `store` are those that the context names, if the caller has them open.
    """
    started = time.monotonic()
    before = torch.get_num_threads()
    torch.set_num_threads(context.threads)
    # Looking for the libraries whose threads to limit takes 2 ms; gradients need those of torch alone.
    limits = threadpool_limits(context.threads) if isinstance(job.recipe, Probe) else contextlib.nullcontext()
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(limits)
            stack.enter_context(torch.random.fork_rng(devices=_cuda(context.device)))
            dataset = Dataset.open(context.dataset_folder) if dataset is None else dataset
            store = stack.enter_context(Store.open(context.scratch, scratch=True)) if store is None else store
            outcome = _run(job, context, started, dataset=dataset, store=store)
    except (Failed, fit.Diverged) as error:
        outcome = Outcome(ok=False, reason=str(error))
    finally:
        torch.set_num_threads(before)
    return outcome.replace(seconds=round(time.monotonic() - started, 3))


def facts_of(dataset: Dataset) -> Facts:
    """Sizes of a dataset, for `planned_work`."""
    return Facts(
        rows=len(dataset.training()),
        ports=dict(dataset.problem.all_ports),
        outputs={feature.name: feature.head_width for feature in dataset.problem.outputs},
        num_folds=dataset.num_folds,
    )


@dataclass
class _Rung:
    """What the folds of one rung share, and what they gave so far."""

    job: Job
    context: Context
    dataset: Dataset
    store: Store
    outputs: dict[str, Feature]
    deadline: float | None
    batch: int
    """Rows per step; halved once when memory ran out."""
    predictions: dict[str, list[np.ndarray]] = field(default_factory=dict)
    rows: list[np.ndarray] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    checkpoint: dict[str, np.ndarray] = field(default_factory=dict)
    curve: list[Point] = field(default_factory=list)
    work: float = 0.0
    parameters: int = 0
    training_seconds: float = 0.0
    hurried: bool = False

    def fetch(self, address: str) -> Mapping[str, np.ndarray]:
        return self.store.get_tensors(address, finite=True)

    @property
    def features(self) -> FrozenFeatures:
        return FrozenFeatures(self.dataset, fetch=self.fetch)

    def view(self, path: Path, *, cached: bool) -> View:
        """The path and what it reads; with `cached` its frozen prefix is read instead of computed."""
        if not cached:
            return View(path, dict(self.dataset.problem.all_ports), {p: self.dataset.inputs[p] for p in path.ports})
        return view(path, self.dataset, self.features)

    def fold(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Row indices to train on and to validate on."""
        training, validation = self.dataset.training(fold), self.dataset.validation(fold)
        if not len(training) or not len(validation):
            raise Failed(f"fold {fold} leaves no rows to train on or to validate on")
        return training, validation

    def until(self, place: int, *, keep: float = 0.0) -> float | None:
        """`time.monotonic()` at which the fold at this place should be done: the rest is shared out evenly.

        `keep`: share of its time kept back for what follows.
        """
        if self.deadline is None:
            return None
        now = time.monotonic()
        return now + (1 - keep) * max(self.deadline - now, 0.0) / (len(self.job.folds) - place)

    def keep(self, predictions: Mapping[str, np.ndarray], rows: np.ndarray) -> None:
        for output, prediction in predictions.items():
            if not np.isfinite(prediction).all():
                raise fit.Diverged(f"diverged: predictions of {output!r} are not finite")
            self.predictions.setdefault(output, []).append(prediction)
        self.rows.append(rows)


def _run(job: Job, context: Context, started: float, *, dataset: Dataset, store: Store) -> Outcome:
    outputs = {feature.name: feature for feature in dataset.problem.outputs}
    deadline = None if context.seconds is None else started + context.seconds * (1 - FOR_ENDING)
    batch = job.recipe.batch if isinstance(job.recipe, GradientRecipe) else 0
    for attempt in range(2):
        rung = _Rung(job, context, dataset, store, outputs, deadline, max(batch >> attempt, 1))
        try:
            for place, fold in enumerate(job.folds):
                (_probe if isinstance(job.recipe, Probe) else _gradient)(rung, place, fold)
            return _outcome(rung)
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            reason = f"out of memory: {str(error).splitlines()[0][:200] if str(error) else 'no more to be had'}"
        if context.device != "cpu":
            torch.cuda.empty_cache()
        if isinstance(job.recipe, Probe) or batch < 2:
            break
    return Outcome(ok=False, reason=reason)


def _out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        sign in text for sign in ("can't allocate memory", "not enough memory", "out of memory")
    )


def _cuda(device: str) -> list[int]:
    return [torch.device(device).index or 0] if device.startswith("cuda") else []


def _outcome(rung: _Rung) -> Outcome:
    rows = np.concatenate(rung.rows)
    predictions = {output: np.concatenate(parts) for output, parts in rung.predictions.items()}
    scores = {
        output: feature.scores(predictions[output], np.asarray(rung.dataset.targets[output])[rows])
        for output, feature in rung.outputs.items()
    }
    score = rung.dataset.problem.score(scores)
    if not math.isfinite(score):
        return Outcome(ok=False, reason="the validation rows give no finite score")
    finite = {o: {m: float(v) for m, v in values.items() if math.isfinite(v)} for o, values in scores.items()}
    tensors = {**{f"output/{output}": p for output, p in predictions.items()}, "rows": rows}
    if rung.curve:
        rung.curve[-1] = rung.curve[-1].replace(score=score)
    return Outcome(
        ok=True,
        score=score,
        scores=finite,
        work=rung.work,
        checkpoint=rung.store.put_tensors(rung.checkpoint) if rung.checkpoint else None,
        predictions=rung.store.put_tensors(tensors),
        parameters=rung.parameters,
        training_seconds=round(rung.training_seconds, 3),
        hurried=rung.hurried,
        paths=tuple(rung.paths),
        curve=tuple(rung.curve),
    )


# Gradient recipes ------------------------------------------------------------------------------------------------
def _gradient(rung: _Rung, place: int, fold: int) -> None:
    job, recipe, device = rung.job, rung.job.recipe, torch.device(rung.context.device)
    assert isinstance(recipe, GradientRecipe)
    whole = job.starts[place] if job.starts else job.path
    if whole is None:
        raise ValueError("a gradient recipe needs a path to train")
    dataset = rung.dataset
    # Changed images have other features: only what is shown as it is can be read from the cache.
    seen = rung.view(whole, cached=recipe.augmentation == Augmentation())
    path, ports, inputs = seen.path, seen.ports, seen.inputs
    training_rows, validation_rows = rung.fold(fold)
    seed = job.seed * 1009 + fold
    targets = {output: dataset.targets[output] for output in rung.outputs}
    source = Source(inputs, targets, weights=dataset.weights, device=device)
    order = Order(training_rows, batch=rung.batch, seed=seed, lengths=_lengths(rung, path, training_rows))
    shown = source.batch(sample(training_rows, size=prepared(ports), seed=seed))
    training = _training(rung, seen, place, seed=seed, shown=shown.inputs, device=device)
    if job.checkpoint is None and (kept := training.module.rows_kept):
        training.module.remember(source.batch(sample(training_rows, size=kept, seed=seed)).inputs)

    macs = max(path.work(ports), 1.0)
    pixels = {name: one for name, one in rung.outputs.items() if isinstance(one, PixelTarget)}
    each = max(path.work(shown_ports(ports, recipe.augmentation)), 1.0) if pixels else macs
    parameters = sum(p.numel() for p in training.module.parameters())
    per_step = 1e-9 * (3 * order.batch * each + parameters)  # the update rule touches every parameter once
    first = job.checkpoint is None
    steps = max(int(job.work / len(job.folds) / per_step), training.step + first)
    until = rung.until(place)
    # A forward pass is a third of a step; averaged weights have their norms measured anew before.
    affordable = int(NORM_SHARE * 3 * order.batch * (steps - training.step) * each / macs)
    least = NORM_LEAST_PIXELS if pixels else NORM_LEAST
    norm_rows = min(max(affordable, least), NORM_ROWS, len(training_rows)) if job.rate[1] > 0 else 0
    scored = (len(validation_rows) + norm_rows) * macs / each
    plan = fit.Plan(
        steps=steps, rate=job.rate, first=first, deadline=until, scoring=scored / (3 * order.batch), seed=seed
    )
    fills = {port: value.float().mean((0, 2, 3)) for port, value in shown.inputs.items() if ports[port].kind == "map"}
    augmenter = Augmenter(recipe.augmentation, {port: ports[port] for port in inputs}, fills, pixels)
    began = time.monotonic()
    rung.hurried |= fit.train(
        training,
        recipe,
        plan,
        source=source,
        order=order,
        augmenter=augmenter,
        outputs={name: one.tuned(recipe.loss) for name, one in rung.outputs.items()},
    )
    rung.training_seconds += time.monotonic() - began

    with fit.averaged(training, use=job.rate[1] > 0) as module:
        if job.rate[1] > 0 and recipe.ema > 0:
            some = sample(training_rows, size=norm_rows, seed=seed + 1)
            chunks = source.chunks(some, size=min(256, evaluation_size(macs)))
            refresh(module, (batch.inputs for batch in chunks), precision=recipe.precision)
        size = evaluation_size(macs)
        predictions = fit.predict(
            module, source, validation_rows, outputs=rung.outputs, size=size, precision=recipe.precision
        )
        rung.keep(predictions, validation_rows)
        learned = {gene.name: gene.weights for gene in with_weights(path, module, rung.store).genes}
        genes = (gene.replace(weights=learned.get(gene.name, gene.weights)) for gene in whole.genes)
        rung.paths.append(whole.replace(genes=tuple(genes)))
    if job.rate[1] > 0:
        state = {name: t.detach().cpu().numpy() for name, t in training.tensors().items()}
        rung.checkpoint.update({f"{place}/{name}": array for name, array in state.items()})
    rung.work += training.step * per_step
    rung.parameters = parameters
    if place == 0:
        scale = per_step * len(job.folds)
        rung.curve = [Point(work=step * scale, loss=loss) for step, loss in training.curve]


def prepared(ports: Mapping[str, Form]) -> int:
    """Training rows shown to fresh layers: fewer where pictures are large."""
    largest = max((math.prod((form.width, *form.size)) for form in ports.values() if form.kind == "map"), default=1)
    return min(PREPARE_ROWS, max(PREPARE_VALUES // largest, 16))


def _lengths(rung: _Rung, path: Path, rows: np.ndarray) -> np.ndarray | None:
    """How long the texts of each row are, where texts are written; None where length decides little about the cost."""
    written = [one for one in rung.outputs.values() if one.generated and one.answer.kind == "tokens"]
    if not written:
        return None
    problem, lengths = rung.dataset.problem, np.zeros(len(rows), dtype=np.int64)
    answers = {problem.answer_port(one) for one in written}
    for port in path.ports:
        form = problem.all_ports.get(port)
        if form is not None and form.vocabulary:
            found = np.count_nonzero(np.asarray(rung.dataset.inputs[port])[rows], axis=1)
            lengths += found * (form.size[0] + 1 if port in answers else 1)  # by the answer first, then by the others
    return lengths


def _training(
    rung: _Rung, seen: View, place: int, *, seed: int, shown: Mapping[str, torch.Tensor], device: torch.device
) -> fit.Training:
    """The training where the checkpoint left it, or a fresh one with prepared layers."""
    recipe = rung.job.recipe
    assert isinstance(recipe, GradientRecipe)
    module = build(seen.path, seen.ports, fetch=rung.fetch, seed=seed)
    module = module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if rung.job.checkpoint is None:
        module.prepare(shown)
        return fit.start(module, recipe)
    training = fit.start(module, recipe)
    saved = rung.store.get_tensors(rung.job.checkpoint)
    prefix = f"{place}/"
    training.load({k[len(prefix) :]: torch.from_numpy(v) for k, v in saved.items() if k.startswith(prefix)})
    return training


def with_weights(path: Path, module: PathModule, store: Store) -> Path:
    """The path with the address of its weights in every gene; genes that are frozen or free keep what they have."""
    genes = []
    for gene in path.genes:
        keep = gene.frozen and gene.weights is not None
        weights = None if keep else module.weights(gene.name)
        genes.append(gene if weights is None else gene.replace(weights=store.put_tensors(weights)))
    return path.replace(genes=tuple(genes))


# Probes ----------------------------------------------------------------------------------------------------------
def _probe(rung: _Rung, place: int, fold: int) -> None:
    job, dataset = rung.job, rung.dataset
    assert isinstance(job.recipe, Probe)
    ports = dict(dataset.problem.ports)
    training_rows, validation_rows = rung.fold(fold)
    if job.path is None and not job.recipe.suits(ports):  # else it reads what the path gives
        raise Failed(f"{job.recipe.method} suits none of the ports {', '.join(sorted(ports))}")
    material = Material(
        ports=ports,
        inputs=dataset.inputs,
        outputs=rung.outputs,
        targets={name: feature.single(dataset.targets[name]) for name, feature in rung.outputs.items()},
        training=training_rows,
        validation=validation_rows,
        seed=job.seed * 1009 + fold,
        threads=rung.context.threads,
        put=rung.store.put_tensors,
        fetch=rung.fetch,
        vocabularies=dataset.problem.vocabularies,
        weights=dataset.weights,
        path=job.starts[place] if job.starts else job.path,
        frozen=rung.features.get,
        memory_bytes=rung.context.memory_bytes,
        deadline=rung.until(place, keep=FOR_SCORING),
    )
    began = time.monotonic()
    fitted = job.recipe.fit(copied(material, job.recipe.copies) if job.recipe.copies > 1 else material)
    if material.deadline is not None:  # probes stop within one part of their time: who used less than half was not cut
        rung.hurried |= time.monotonic() > (began + material.deadline) / 2
    rung.work += probe_work(job.recipe, job.path, facts_of(dataset))
    if fitted.path is None:
        assert fitted.predictions is not None
        rung.keep(fitted.predictions, validation_rows)
        return
    # Scored through the path as it is stored: what is kept is what was judged.
    seen = rung.view(fitted.path, cached=True)
    module = build(seen.path, seen.ports, fetch=rung.fetch)
    source = Source(seen.inputs, {o: dataset.targets[o] for o in rung.outputs}, device=torch.device("cpu"))
    size = evaluation_size(seen.path.work(seen.ports))
    rung.keep(fit.predict(module, source, validation_rows, outputs=rung.outputs, size=size), validation_rows)
    rung.paths.append(fitted.path)
    rung.parameters = sum(t.numel() for t in module.state_dict().values())
