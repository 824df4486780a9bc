"""Histograms of oriented gradients (Dalal and Triggs 2005) and logistic regression: the floor for pictures.

Cells of 4x4 pixels (6x6 from 40 pixels on), 9 unsigned orientations, blocks of 2x2 cells normalised to length one; for
colour the strongest of the three gradients, and the mean colour of each cell beside it. C by a held-out fifth.
"""

from __future__ import annotations

import time

import numpy
from job import read_job, write_answer
from pictures import read
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split

ORIENTATIONS = 9
STRENGTHS = (0.1, 1.0, 10.0, 100.0)


def hog(pictures: numpy.ndarray) -> numpy.ndarray:
    """[B,H,W,C] uint8 -> [B,D] float32."""
    x = pictures.astype(numpy.float32) / 255.0
    down, across = numpy.gradient(x, axis=(1, 2))
    size = numpy.hypot(down, across)
    strongest = size.argmax(axis=3)[..., None]
    size, down, across = (numpy.take_along_axis(each, strongest, 3)[..., 0] for each in (size, down, across))
    angle = (numpy.arctan2(down, across) % numpy.pi) * (ORIENTATIONS / numpy.pi) - 0.5
    low = numpy.floor(angle).astype(numpy.int64)
    share = (angle - low).astype(numpy.float32)
    cell = 6 if x.shape[1] >= 40 else 4
    rows, columns = x.shape[1] // cell, x.shape[2] // cell

    def cells(values: numpy.ndarray) -> numpy.ndarray:
        cut = values[:, : rows * cell, : columns * cell]
        return cut.reshape(len(cut), rows, cell, columns, cell).sum(axis=(2, 4))

    bins = [
        cells(size * ((low % ORIENTATIONS == each) * (1 - share) + ((low + 1) % ORIENTATIONS == each) * share))
        for each in range(ORIENTATIONS)
    ]
    cells_by = numpy.stack(bins, axis=-1)
    blocks = numpy.concatenate(
        [cells_by[:, i : rows - 1 + i, j : columns - 1 + j] for i in (0, 1) for j in (0, 1)], axis=-1
    )
    blocks = numpy.minimum(blocks / (numpy.linalg.norm(blocks, axis=-1, keepdims=True) + 0.05), 0.2)
    parts = [blocks.reshape(len(x), -1)]
    if x.shape[3] == 3:
        parts += [cells(x[..., channel]).reshape(len(x), -1) / cell**2 for channel in range(3)]
    return numpy.concatenate(parts, axis=1).astype(numpy.float32)


def features(pictures: numpy.ndarray) -> numpy.ndarray:
    return numpy.concatenate([hog(pictures[start : start + 1000]) for start in range(0, len(pictures), 1000)])


def model(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=200, tol=1e-3)


def main() -> None:
    job = read_job()
    pictures, labels = read(job.train)
    x, y = features(pictures), numpy.array(labels)
    inside, outside = train_test_split(numpy.arange(len(y)), test_size=0.2, random_state=job.seed, stratify=y)
    inside = inside[:10_000]  # enough to tell one C from another
    found: dict[float, float] = {}
    for strength in STRENGTHS:
        found[strength] = accuracy_score(y[outside], model(strength).fit(x[inside], y[inside]).predict(x[outside]))
    best = max(found, key=lambda strength: found[strength])
    final = model(best).fit(x, y)
    fitted = time.monotonic()
    shares = final.predict_proba(features(read(job.test)[0]))
    values = final.classes_[shares.argmax(axis=1)].tolist()
    write_answer(
        {job.target: {"values": values, "classes": final.classes_.tolist(), "probabilities": shares.tolist()}},
        fitted=fitted,
        packages=("scikit-learn",),
        notes={"C": best, "features": x.shape[1]},
    )


if __name__ == "__main__":
    main()
