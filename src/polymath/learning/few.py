"""Learning from one example of each class: nothing can be held out, so the most promising stored task is trusted.

With two or more examples the usual folds leave one out in turn, and stored knowledge has to earn its place. With one,
the class of a held-out row would be unknown to the model, and a validation score would say nothing. The answer is then
the class of the nearest example, as the net sees it that has learned to tell the most apart, and by which way the edges
of a picture run; without a net, by these alone. Of texts their letters are counted too.
"""

from __future__ import annotations

import math

import numpy as np

from ..model.build import build
from ..model.path import Path
from ..model.probes import Material, NamesakesProbe, NgramsProbe, Probe, PrototypesProbe
from ..model.probes.copies import copied
from ..predicting import TaskRecord, forward
from ..problem import Dataset
from ..problem.probability import log_sum_exp
from ..search import Experiment
from ..search.choices import Sketch, Trace
from ..search.spaces import gradients
from ..search.spaces.designs import Design
from ..search.spaces.designs import label as label_of
from ..search.spaces.parents import Parent, features
from ..spec import BadInput
from ..train.features import FrozenFeatures
from .study import Study, scaled

ENOUGH_CLASSES = 50
"""That a net must tell apart to be trusted unseen. With one picture of each digit a net of 6 digits got 0.41, pixels
more than 0.5; with one of each letter of Myanmar a net of 149 letters 0.47, pixels 0.16 (median of ten scripts)."""

COPIES = 9
"""Of each picture, moved by a fourteenth of its side: the mean of their features told the letters of eight new scripts
apart better by 4 points with one picture each (0.831 to 0.870); turned and resized copies were no better."""

STRENGTH, SURE = 16.0, 16.0
"""Of the head on letters: its inverse penalty, for no row chooses it, and by how much its answers, nearly even after
one text of each class, are sharpened to be heard beside others. Eight tasks: prototypes on absorbed words 0.453,
letters 0.489, both 0.461, both with letters sharpened 0.503 (and within 0.006 of it by 8 to 48)."""

CERTAIN = 1.0
"""Standard errors by which answers must be better than chance: where they are not, they are nearly even anyway."""


def one_each(dataset: Dataset) -> bool:
    """No row can be held out: there is one example of every class (see `splits.assign`)."""
    return dataset.num_folds == 1


def unjudged(study: Study, parents: tuple[Parent, ...], *, namesakes: tuple[Parent, ...], seed: int) -> TaskRecord:
    """Learns from all rows, with prototypes on the most promising parent, and publishes without a validation score.

    What a stored task says about classes of the same names was not learned from these rows, so they can judge that.
    Where it is better than chance it counts as much as the prototypes, and stands alone where no net was trusted.
    """
    parent = max(parents, key=lambda parent: parent.classes, default=None)
    problem = study.dataset.problem
    raw, texts = PrototypesProbe().suits(problem.ports), bool(problem.vocabularies)
    if parent is None and not raw and not texts:
        raise BadInput(
            "there is one example of every class, and nothing that is stored reads such rows", remedy="Give more rows."
        )
    if parent is not None and parent.classes < ENOUGH_CLASSES and raw:
        parent = None
    outputs = tuple(output.name for output in problem.outputs)
    tries = [_namesakes(named, outputs) for named in namesakes]
    if parent is not None or raw:
        seen = _seen(study.dataset, parent, outputs)
        prototypes = PrototypesProbe(standardised=seen is None)
        tries.append(Design(method="prototypes", path=seen, recipe=prototypes, parent=parent.task if parent else ""))
    if texts:
        tries.append(Design(method="letters", recipe=NgramsProbe(letters=True, longest=5, strengths=(STRENGTH,))))
    found: dict[str, Path] = {}
    for design in tries:
        assert isinstance(design.recipe, Probe)
        path = design.recipe.fit(_material(study, design.path, seed=seed)).path
        assert path is not None
        known = not isinstance(design.recipe, NamesakesProbe) or _better_than_chance(study, path)
        if design.method == "letters" and found:
            for output in outputs:
                path = scaled(path, output, SURE)
        if known and (design.parent or design.method == "letters" or not found):
            found[label_of(design)] = path
    experiments = [Experiment(number, Sketch(Trace()), label, "few") for number, label in enumerate(found)]
    return study.publish_unjudged(experiments, list(found.values()))


def _namesakes(named: Parent, outputs: tuple[str, ...]) -> Design:
    return Design(method="namesakes", path=features(named, outputs), recipe=NamesakesProbe(), parent=named.task)


def _seen(dataset: Dataset, parent: Parent | None, outputs: tuple[str, ...]) -> Path | None:
    """What is read of a row: what the parent gives, and of pictures their oriented gradients; None = as it is."""
    ports, width = dict(dataset.problem.ports), sum(feature.head_width for feature in dataset.problem.outputs)
    if parent is None:
        return gradients.alone(ports, outputs) if gradients.suits(ports, rows=len(dataset.training())) else None
    read = {port: ports[port] for port in parent.path.ports}
    fits = gradients.suits(read, rows=len(dataset.training())) and gradients.light(parent, ports, width=width)
    return gradients.beside(parent, ports, outputs) if fits else features(parent, outputs)


def _material(study: Study, path: Path | None, *, seed: int) -> Material:
    """All rows to learn from; those that frozen layers see stand in nine places, if they are pictures."""
    dataset, scratch = study.dataset, study.scratch
    material = Material(
        ports=dict(dataset.problem.ports),
        inputs=dataset.inputs,
        vocabularies=dataset.problem.vocabularies,
        outputs={feature.name: feature for feature in dataset.problem.outputs},
        targets={output: np.asarray(array) for output, array in dataset.targets.items()},
        training=dataset.training(),
        validation=np.zeros(0, dtype=np.int64),
        seed=seed,
        threads=1,
        put=scratch.put_tensors,
        fetch=lambda address: scratch.get_tensors(address, finite=True),
        path=path,
        frozen=None if path is None else FrozenFeatures(dataset, fetch=scratch.get_tensors).get,
    )
    pictures = any(form.kind == "map" for form in material.ports.values())
    return copied(material, COPIES) if path is not None and pictures else material


def _better_than_chance(study: Study, path: Path) -> bool:
    """Whether the answers of a path that learned next to nothing from the rows are likely right about them."""
    dataset, rows = study.dataset, study.dataset.training()
    module = build(path, dataset.problem.ports, fetch=study.scratch.get_tensors).eval()
    raw = forward(module, {port: array[rows] for port, array in dataset.inputs.items()})
    gains = []
    for feature in dataset.problem.outputs:
        codes = np.asarray(feature.single(np.asarray(dataset.targets[feature.name][rows]))).reshape(-1)
        answers = raw[feature.name].astype(np.float64)[codes >= 0]
        codes = codes[codes >= 0]
        gains.append(math.log(answers.shape[1]) - log_sum_exp(answers) + answers[np.arange(len(codes)), codes])
    gain = np.concatenate(gains)
    return bool(gain.mean() > CERTAIN * gain.std() / math.sqrt(len(gain)))
