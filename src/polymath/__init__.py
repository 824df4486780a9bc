"""Polymath: hand it data and compute, get a working model, and a growing store of what it learned.

>>> from polymath import Polymath                                          # doctest: +SKIP
>>> task = Polymath("knowledge/").learn("flowers/", budget="10m")          # doctest: +SKIP
>>> task.predict("rose.jpg")                                               # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .estimators import PolymathClassifier, PolymathRegressor
    from .knowledge import Polymath, Task
    from .spec import BadInput
    from .train.update.optimizer import optimizer

__version__ = "0.1.0"
__all__ = ["BadInput", "Polymath", "PolymathClassifier", "PolymathRegressor", "Task", "__version__", "optimizer"]

_HOMES = {
    "BadInput": "spec",
    "Polymath": "knowledge",
    "Task": "knowledge",
    "PolymathClassifier": "estimators",
    "PolymathRegressor": "estimators",
    "optimizer": "train.update.optimizer",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used: `import polymath` alone costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'polymath' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
