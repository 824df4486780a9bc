"""Methods that begin from nothing: each is given the same rows as Polymath, and no more than its own strong recipe.

Pictures are read as pixels, texts as tf-idf of words and pieces of words, columns as standardised numbers and flags.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .few import Task

Record = dict[str, Any]
Found = tuple[np.ndarray, int]
"""Codes of the answers, and how many numbers the model holds."""

NAMES = ("nearest", "svm", "trees", "net")


def cold(task: Task, each: int, *, method: str, seconds: float) -> Record:
    """One method on `each` examples of every class. `seconds`: of the net; the others take what they take."""
    begin, spent = time.monotonic(), time.process_time()
    rows = task.few(each)
    names, codes = np.unique(task.labels[rows], return_inverse=True)
    known, asked = READ[task.form](task, rows)
    found, parameters = METHODS[task.form, method](known, codes, asked, seconds)
    return {
        "accuracy": float((names[found] == task.truth).mean()),
        "seconds": round(time.monotonic() - begin, 2),
        "cpu_seconds": round(time.process_time() - spent, 2),
        "parameters": parameters,
    }


# Reading -------------------------------------------------------------------------------------------------------------
def pictures(task: Task, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels in [0, 1], [N, C, H, W]."""
    (name,) = task.columns
    known, asked = (np.asarray(part, dtype=np.float32) / 255 for part in (task.columns[name][rows], task.asked[name]))
    known, asked = (part[:, None] if part.ndim == 3 else np.moveaxis(part, 3, 1) for part in (known, asked))
    return known, asked


def texts(task: Task, rows: np.ndarray) -> tuple[Any, Any]:
    """Sparse tf-idf of words, pairs of words and pieces of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    (name,) = task.columns
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, max_features=50_000)
    reader = make_union(words, pieces)
    known = reader.fit_transform([task.columns[name][row] for row in rows])
    return known.tocsr(), reader.transform(task.asked[name]).tocsr()


def columns(task: Task, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers standardised, gaps filled by the median and flagged, words as flags."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    known = pd.DataFrame({name: [values[row] for row in rows] for name, values in task.columns.items()})
    asked = pd.DataFrame(dict(task.asked))
    numbers = [name for name in known if pd.api.types.is_numeric_dtype(known[name]) and known[name].notna().any()]
    words = [name for name in known if not pd.api.types.is_numeric_dtype(known[name])]
    reader = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", max_categories=30, sparse_output=False), words),
    )
    asked = asked.astype(dict.fromkeys(numbers, float))
    for name in words:
        known[name], asked[name] = known[name].astype(str), asked[name].astype(str)
    return reader.fit_transform(known).astype(np.float32), reader.transform(asked).astype(np.float32)


READ: dict[str, Callable[[Task, np.ndarray], tuple[Any, Any]]] = {
    "pictures": pictures,
    "texts": texts,
    "columns": columns,
}


# Methods -------------------------------------------------------------------------------------------------------------
def flat(given: Any) -> Any:
    return given.reshape(len(given), -1) if isinstance(given, np.ndarray) else given


def nearest(known: Any, codes: np.ndarray, asked: Any, seconds: float) -> Found:
    """tf-idf has unit length, so the nearest by distance is the nearest by angle."""
    from sklearn.neighbors import KNeighborsClassifier

    known, asked = flat(known), flat(asked)
    return KNeighborsClassifier(1).fit(known, codes).predict(asked), int(np.prod(known.shape))


def svm(known: Any, codes: np.ndarray, asked: Any, seconds: float) -> Found:
    from sklearn.svm import SVC

    known, asked = flat(known), flat(asked)
    model = SVC(C=10).fit(known, codes)
    return model.predict(asked), int(model.support_vectors_.size)


def linear_svm(known: Any, codes: np.ndarray, asked: Any, seconds: float) -> Found:
    from sklearn.svm import LinearSVC

    model = LinearSVC().fit(known, codes)
    return model.predict(asked), int(model.coef_.size)


def boosted(known: np.ndarray, codes: np.ndarray, asked: np.ndarray, **more: Any) -> Found:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(min_samples_leaf=2, **more).fit(known, codes)
    return model.predict(asked), 0


def trees_on_pictures(known: np.ndarray, codes: np.ndarray, asked: np.ndarray, seconds: float) -> Found:
    """On pictures of half the side: sixty classes of pixels are dear."""

    def half(given: np.ndarray) -> np.ndarray:
        count, channels, height, width = given.shape
        return given.reshape(count, channels, height // 2, 2, width // 2, 2).mean((3, 5)).reshape(count, -1)

    return boosted(half(known), codes, half(asked), max_iter=20, max_leaf_nodes=8, max_bins=16)


def trees_on_texts(known: Any, codes: np.ndarray, asked: Any, seconds: float) -> Found:
    """On the leading directions of tf-idf."""
    from sklearn.decomposition import TruncatedSVD

    reader = TruncatedSVD(min(50, known.shape[0] - 1), random_state=0)
    return boosted(reader.fit_transform(known), codes, reader.transform(asked), max_iter=20, max_leaf_nodes=8)


def trees_on_columns(known: np.ndarray, codes: np.ndarray, asked: np.ndarray, seconds: float) -> Found:
    return boosted(known, codes, asked, max_iter=60, max_leaf_nodes=8)


def convolutional(known: np.ndarray, codes: np.ndarray, asked: np.ndarray, seconds: float) -> Found:
    """A plain convolutional net, trained on all rows with moved copies and one cycle of the rate, until time is up."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(0)
    widths = (known.shape[1], 32, 64, 128)
    stages = [
        nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
        for a, b in itertools.pairwise(widths)
    ]
    model = nn.Sequential(*stages, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(128, int(codes.max()) + 1))
    x, mean = torch.from_numpy(known), float(known.mean())
    height, width = x.shape[2:]

    def moved(rows: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
        up, left = random.integers(0, 5, 2)
        edge = float(x[0, 0, 0, 0]) - mean
        return F.pad(x[rows] - mean, (2, 2, 2, 2), value=edge)[:, :, up : up + height, left : left + width]

    trained(model, moved, codes, seconds=seconds)
    with torch.inference_mode():
        answers = model(torch.from_numpy(asked) - mean).argmax(1).numpy()
    return answers, sum(p.numel() for p in model.parameters())


def words_net(known: Any, codes: np.ndarray, asked: Any, seconds: float) -> Found:
    """tf-idf through one hidden layer."""
    return dense(known.toarray().astype(np.float32), codes, asked.toarray().astype(np.float32), seconds)


def dense(known: np.ndarray, codes: np.ndarray, asked: np.ndarray, seconds: float) -> Found:
    """Two layers with dropout, trained until time is up."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    width = known.shape[1]
    model = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, int(codes.max()) + 1))
    x = torch.from_numpy(known)
    trained(model, lambda rows, random: x[rows], codes, seconds=seconds)
    with torch.inference_mode():
        answers = model(torch.from_numpy(asked)).argmax(1).numpy()
    return answers, sum(p.numel() for p in model.parameters())


def trained(model: Any, batch_of: Callable[..., Any], codes: np.ndarray, *, seconds: float, head: Any = None) -> None:
    """AdamW with one cycle of the rate until time (of this process) is up; where a `head` is given, the rest learns at a tenth."""
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(1)
    y = torch.from_numpy(codes)
    ends = [] if head is None else list(head.parameters())
    rest = [p for p in model.parameters() if all(p is not own for own in ends)]
    groups = [{"params": rest, "share": 1.0 if head is None else 0.1}, {"params": ends, "share": 1.0}]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=4e-3, weight_decay=0.05)
    begin, size, random = time.process_time(), min(64, len(y)), np.random.default_rng(0)
    model.train()
    while (spent := (time.process_time() - begin) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * group["share"] * min(spent / 0.15, (1 - spent) / 0.85)
        rows = torch.from_numpy(random.choice(len(y), size, replace=False))
        optimizer.zero_grad()
        F.cross_entropy(model(batch_of(rows, random)), y[rows], label_smoothing=0.1).backward()
        optimizer.step()
    model.eval()


METHODS: dict[tuple[str, str], Callable[[Any, np.ndarray, Any, float], Found]] = {
    ("pictures", "nearest"): nearest,
    ("pictures", "svm"): svm,
    ("pictures", "trees"): trees_on_pictures,
    ("pictures", "net"): convolutional,
    ("texts", "nearest"): nearest,
    ("texts", "svm"): linear_svm,
    ("texts", "trees"): trees_on_texts,
    ("texts", "net"): words_net,
    ("columns", "nearest"): nearest,
    ("columns", "svm"): svm,
    ("columns", "trees"): trees_on_columns,
    ("columns", "net"): dense,
}
