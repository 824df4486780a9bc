"""HistGradientBoosting of scikit-learn with its default settings: the floor. Categories go in as categories."""

from __future__ import annotations

import time

import pandas
from frames import read
from job import read_job, write_answer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

LEVELS = 250  # the histogram has 255 bins; rarer levels become one


def encode(train: pandas.DataFrame, test: pandas.DataFrame) -> None:
    """Turn every column that is not a number into a category with the levels of the training rows (unknown = missing)."""
    for column in train:
        if not pandas.api.types.is_numeric_dtype(train[column]) or not pandas.api.types.is_numeric_dtype(test[column]):
            levels = train[column].dropna().astype(str).value_counts().index[:LEVELS]
            for frame in (train, test):
                held = frame[column].astype(str).where(frame[column].notna())
                frame[column] = pandas.Categorical(held, categories=sorted(levels))


def main() -> None:
    job = read_job()
    train, target, test = read(job)
    encode(train, test)
    family = HistGradientBoostingClassifier if job.kind == "category" else HistGradientBoostingRegressor
    model = family(random_state=job.seed).fit(train, target)
    fitted = time.monotonic()
    output = {"values": model.predict(test).tolist()}
    if job.kind == "category":
        output |= {"classes": model.classes_.tolist(), "probabilities": model.predict_proba(test).tolist()}
    write_answer({job.target: output}, fitted=fitted, packages=("scikit-learn",))


if __name__ == "__main__":
    main()
