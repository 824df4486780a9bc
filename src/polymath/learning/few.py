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
from ..spec import BadInput
from ..train.features import FrozenFeatures
from .study import Study

ENOUGH_CLASSES = 50
"""That a net must tell apart to be trusted unseen. With one digit of each, a net of 6 classes got 0.41 and plain pixels
0.6; with one letter of each, a net of 149 letters got 0.45 and plain pixels 0.16."""


def one_each(dataset: Dataset) -> bool:
    """No row can be held out: there is one example of every class (see `splits.assign`)."""
    return dataset.num_folds == 1


def unjudged(study: Study, parents: tuple[Parent, ...], *, seed: int) -> TaskRecord:
    """Learns from all rows, with prototypes on the most promising parent, and publishes without a validation score.

    Raises BadInput where there is nothing to see likeness by: texts without a stored task that reads them.
    """
    dataset, scratch = study.dataset, study.scratch
    names = tuple(output.name for output in dataset.problem.outputs)
    parent = next((parent for parent in parents if parent.classes >= ENOUGH_CLASSES), None)
    probe = PrototypesProbe(standardised=parent is None)
    if parent is None and not probe.suits(dataset.problem.ports):
        raise BadInput(
            "there is one example of every class, and no stored task to build upon",
            remedy="Give two examples of every class or more, or learn a larger task of this kind first.",
        )
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
