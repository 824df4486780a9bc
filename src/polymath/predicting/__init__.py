"""Predict with a stored task: loads no search and no training, and touches only the weights of the task's own path."""

from .answers import BATCH, Truth, by_row, forward, said, truth_of
from .predictor import Predicted, Predictor, bring
from .records import HEAD, KIND, Summary, TaskRecord, load_record, load_version, needed, rollback, versions

__all__ = [
    "BATCH",
    "HEAD",
    "KIND",
    "Predicted",
    "Predictor",
    "Summary",
    "TaskRecord",
    "Truth",
    "bring",
    "by_row",
    "forward",
    "load_record",
    "load_version",
    "needed",
    "rollback",
    "said",
    "truth_of",
    "versions",
]
