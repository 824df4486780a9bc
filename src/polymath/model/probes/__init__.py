"""Cheap heads, one file each: they fit within seconds and give ordinary paths with weights.

They know arrays, features and layers; nothing of jobs, rungs or the store. Adding one = a new file + its line below.
"""

from __future__ import annotations

from typing import TypeAlias

from .base import Facts, Fitted, Material, Probe
from .constant import ConstantProbe
from .forest import ForestProbe
from .linear import LinearProbe
from .namesakes import NamesakesProbe
from .nearest import NearestProbe
from .ngrams import NgramsProbe
from .patches import PatchesProbe
from .pixels import PixelsProbe
from .prototypes import PrototypesProbe
from .trees import TreesProbe

AnyProbe: TypeAlias = (
    ConstantProbe
    | ForestProbe
    | LinearProbe
    | NamesakesProbe
    | NearestProbe
    | NgramsProbe
    | PatchesProbe
    | PixelsProbe
    | PrototypesProbe
    | TreesProbe
)

PROBES: tuple[type[Probe], ...] = (
    ConstantProbe,
    ForestProbe,
    LinearProbe,
    NamesakesProbe,
    NearestProbe,
    NgramsProbe,
    PatchesProbe,
    PixelsProbe,
    PrototypesProbe,
    TreesProbe,
)

__all__ = [
    "PROBES",
    "AnyProbe",
    "ConstantProbe",
    "Facts",
    "Fitted",
    "ForestProbe",
    "LinearProbe",
    "Material",
    "NamesakesProbe",
    "NearestProbe",
    "NgramsProbe",
    "PatchesProbe",
    "PixelsProbe",
    "Probe",
    "PrototypesProbe",
    "TreesProbe",
]
