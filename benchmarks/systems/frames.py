"""Reading a job's table for the pandas systems, the same way for each."""

from __future__ import annotations

from typing import Any

import pandas
from job import Job


def read(job: Job) -> tuple[pandas.DataFrame, Any, pandas.DataFrame]:
    """(training inputs, training target, test inputs); categories of the target are strings, missing text is empty."""
    kinds = {job.target: str} if job.kind == "category" else {}
    train = pandas.read_csv(job.train, dtype=kinds, low_memory=False)
    test = pandas.read_csv(job.test, low_memory=False)
    if job.family == "text":
        train["text"], test["text"] = train["text"].fillna("").astype(str), test["text"].fillna("").astype(str)
    return train.drop(columns=[job.target]), train[job.target], test
