"""The two usual ways to use a parent, on as much work as learning with the store took: fine-tune all of it, or none."""

from __future__ import annotations

import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .cold import Record, trained
from .few import Task

MOVES = (-1, 0, 1)
"""Pixels by which pictures are moved, in both directions, where time allows."""
MOST_ROWS = 2_000
"""From which on no further copies are made: logistic regression on more takes longer than learning with the store."""


def finetuned(task: Task, each: int, *, place: Path, name: str, seconds: float) -> Record:
    """All weights of the most promising parent trained on with a new linear head, moved copies and one cycle of the rate."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    begin = time.process_time()
    parent, known, asked, codes, names = _read(task, each, place=place, name=name)
    module = parent(frozen=False)
    head = nn.Linear(module(known[:1]).shape[1], len(names))
    model = nn.Sequential(module, head)
    height, width = known.shape[2:]

    def moved(rows: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
        up, left = random.integers(0, 5, 2)
        return F.pad(known[rows], (2, 2, 2, 2))[:, :, up : up + height, left : left + width]

    trained(model, moved, codes, seconds=max(seconds - (time.process_time() - begin), 0.2), head=head)
    with torch.inference_mode():
        found = model(asked).argmax(1).numpy()
    return _said(task, names[found], begin, parameters=sum(p.numel() for p in model.parameters()))


def frozen(task: Task, each: int, *, place: Path, name: str, seconds: float) -> Record:
    """Logistic regression on the most promising parent's features of pictures moved all ways, as many as time allows.

    How much it is held back is chosen on rows left out, where there are two of each class.
    """
    import torch
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from torch.nn import functional as F

    begin = time.process_time()
    parent, known, asked, codes, names = _read(task, each, place=place, name=name)
    module = parent(frozen=True)
    height, width = known.shape[2:]
    wide = F.pad(known, (1, 1, 1, 1))
    seen, labels = [], []
    places = sorted(((up, left) for up in MOVES for left in MOVES), key=lambda place: abs(place[0]) + abs(place[1]))
    with torch.inference_mode():
        for up, left in places:
            seen.append(module(wide[:, :, 1 + up : 1 + up + height, 1 + left : 1 + left + width]).numpy())
            labels.append(codes)
            if time.process_time() - begin > seconds / 4 or len(codes) * len(seen) > MOST_ROWS:
                break
        answers = module(asked).numpy()
    x, y = np.concatenate(seen), np.concatenate(labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if each > 1:
            folds = [
                (np.flatnonzero(fold != n), np.flatnonzero(fold == n))
                for fold in [np.tile(np.arange(len(codes)) // len(names) % 2, len(seen))]
                for n in (0, 1)
            ]
            model: Any = LogisticRegressionCV(Cs=[0.3, 3.0], cv=folds, max_iter=50)
        else:
            model = LogisticRegression(C=10.0, max_iter=50)
        found = model.fit(x, y).predict(answers)
    return _said(task, names[found], begin, parameters=int(model.coef_.size))


def _said(task: Task, found: np.ndarray, begin: float, *, parameters: int) -> Record:
    return {
        "accuracy": float((found == task.truth).mean()),
        "cpu_seconds": round(time.process_time() - begin, 2),
        "parameters": parameters,
    }


def _read(task: Task, each: int, *, place: Path, name: str) -> tuple[Any, Any, Any, np.ndarray, np.ndarray]:
    """(frozen?) -> module of the parent that the store finds most promising; pictures known and asked; classes."""
    import torch

    from polymath.learning.parents import parents
    from polymath.predicting import Predictor, load_record
    from polymath.store import Store

    rows = task.few(each)
    names, codes = np.unique(task.labels[rows], return_inverse=True)
    with Store.open(place / "store", read_only=True) as store:
        predictor = Predictor(load_record(store, name), store)
        parent = parents(store, predictor.problem, but=name)[0]
        weights = {address: store.get_tensors(address) for address in parent.path.addresses}
    (port,) = predictor.problem.ports
    known, asked = (
        torch.from_numpy(np.ascontiguousarray(predictor.encode(table)[1][port]))
        for table in (task.table(rows).drop_columns(["label"]), task.question())
    )
    made = partial(_module, parent.path, predictor.problem.ports, port, weights)
    return made, known, asked, codes, names


def _module(path: Any, ports: Any, port: str, weights: Any, *, frozen: bool) -> Any:
    import torch
    from torch import nn

    from polymath.model.build import build
    from polymath.model.prefix import END

    torch.set_num_threads(1)
    genes = tuple(gene.replace(frozen=frozen) for gene in path.genes)
    built = build(path.replace(genes=genes), ports, fetch=weights.__getitem__)

    class Features(nn.Module):
        """A picture's features, for a head to stand on."""

        def __init__(self) -> None:
            super().__init__()
            self.built = built

        def forward(self, pictures: Any) -> Any:
            return self.built({port: pictures})[END]

    return Features().train(not frozen)
