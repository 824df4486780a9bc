"""Learning from one example of each class: nothing can be held out, so the most promising stored task is trusted.

With two or more examples the usual folds leave one out in turn, and stored knowledge has to earn its place. With one,
the class of a held-out row would be unknown to the model, and a validation score would say nothing. The answer is then
the class of the nearest example, as the net sees it that has learned to tell the most apart; without one, in pixels.
"""

from __future__ import annotations

import numpy as np

from ..model.probes import Material, PrototypesProbe
from ..predicting import TaskRecord
from ..problem import Dataset
from ..search import Experiment
from ..search.choices import Sketch, Trace
from ..search.spaces.parents import Parent, features
from ..train.features import FrozenFeatures
from .study import Study

ENOUGH_CLASSES = 50
"""That a net must tell apart to be trusted unseen. With one picture of each digit a net of 6 digits got 0.41, pixels
more than 0.5; with one of each letter of Myanmar a net of 149 letters 0.47, pixels 0.16 (median of ten scripts)."""


def one_each(dataset: Dataset) -> bool:
    """No row can be held out: there is one example of every class (see `splits.assign`)."""
    return dataset.num_folds == 1


def unjudged(study: Study, parents: tuple[Parent, ...], *, seed: int) -> TaskRecord:
    """Learns from all rows, with prototypes on the most promising parent, and publishes without a validation score."""
    dataset, scratch = study.dataset, study.scratch
    names = tuple(output.name for output in dataset.problem.outputs)
    parent = next((parent for parent in parents if parent.classes >= ENOUGH_CLASSES), None)
    probe = PrototypesProbe(standardised=parent is None)
    material = Material(
        ports=dict(dataset.problem.ports),
        inputs=dataset.inputs,
        outputs={feature.name: feature for feature in dataset.problem.outputs},
        targets=dataset.targets,
        training=dataset.training(),
        validation=np.zeros(0, dtype=np.int64),
        seed=seed,
        threads=1,
        put=scratch.put_tensors,
        fetch=lambda address: scratch.get_tensors(address, finite=True),
        weights=dataset.weights,
        path=None if parent is None else features(parent, names),
        frozen=FrozenFeatures(dataset, fetch=lambda address: scratch.get_tensors(address, finite=True)).get,
    )
    path = probe.fit(material).path
    assert path is not None
    label = f"prototypes on {parent.task}" if parent else "prototypes"
    return study.publish_unjudged(Experiment(0, Sketch(Trace()), label, "few"), path)
