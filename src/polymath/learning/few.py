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
from .study import Study

ENOUGH_CLASSES = 50
"""That a net must tell apart to be trusted unseen. With one picture of each digit a net of 6 digits got 0.41, pixels
more than 0.5; with one of each letter of Myanmar a net of 149 letters 0.47, pixels 0.16 (median of ten scripts)."""

COPIES = 9
"""Of each picture, moved by a fourteenth of its side: the mean of their features told the letters of eight new scripts
apart better by 4 points with one picture each (0.831 to 0.870); turned and resized copies were no better."""


def one_each(dataset: Dataset) -> bool:
    """No row can be held out: there is one example of every class (see `splits.assign`)."""
    return dataset.num_folds == 1


def unjudged(study: Study, parents: tuple[Parent, ...], *, seed: int) -> TaskRecord:
    """Learns from all rows, with prototypes on the most promising parent, and publishes without a validation score."""
    dataset, scratch = study.dataset, study.scratch
    names = tuple(output.name for output in dataset.problem.outputs)
    parent = max(parents, key=lambda parent: parent.classes, default=None)
    raw = PrototypesProbe().suits(dataset.problem.ports)
    if parent is None and not raw:
        raise BadInput(
            "there is one example of every class, and nothing that is stored reads such rows", remedy="Give more rows."
        )
    if parent is not None and parent.classes < ENOUGH_CLASSES and raw:
        parent = None
    probe = PrototypesProbe(standardised=parent is None)
    inputs = {port: np.asarray(array) for port, array in dataset.inputs.items()}
    targets = {output: np.asarray(array) for output, array in dataset.targets.items()}
    rows = dataset.training()
    if parent is not None and any(array.ndim == 4 for array in inputs.values()):
        inputs = {
            port: _moved(array) if array.ndim == 4 else np.concatenate([array] * COPIES)
            for port, array in inputs.items()
        }
        targets = {output: np.concatenate([array] * COPIES) for output, array in targets.items()}
        rows = np.concatenate([rows + copy * len(dataset.folds) for copy in range(COPIES)])
    material = Material(
        ports=dict(dataset.problem.ports),
        inputs=inputs,
        outputs={feature.name: feature for feature in dataset.problem.outputs},
        targets=targets,
        training=rows,
        validation=np.zeros(0, dtype=np.int64),
        seed=seed,
        threads=1,
        put=scratch.put_tensors,
        fetch=lambda address: scratch.get_tensors(address, finite=True),
        path=None if parent is None else features(parent, names),
    )
    path = probe.fit(material).path
    assert path is not None
    label = f"prototypes on {parent.task}" if parent else "prototypes"
    return study.publish_unjudged(Experiment(0, Sketch(Trace()), label, "few"), path)


def _moved(pictures: np.ndarray) -> np.ndarray:
    """The pictures [N, C, H, W] where they are and moved to all eight sides, copy after copy [9 N, C, H, W]."""
    height, width = pictures.shape[2:]
    up, left = max(1, height // 14), max(1, width // 14)
    wide = np.pad(pictures, ((0, 0), (0, 0), (up, up), (left, left)), mode="edge")
    places = [(y, x) for y in (0, up, 2 * up) for x in (0, left, 2 * left)]
    return np.concatenate([wide[:, :, y : y + height, x : x + width] for y, x in places])
