"""What frozen genes give for the rows of a dataset: computed once, kept beside the decoded data, used by every job.

The key is the identity of the gene (its layers and weights, all the way up), so it never goes stale. Two processes that
compute the same features at once write the same bytes; the later one wins.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path as Folder

import numpy as np
import torch

from ..model.build import Weights, build, has_tensors
from ..model.path import Path
from ..model.prefix import frontier, read_from_ports
from ..model.probes.base import STILL
from ..model.probes.copies import moved as moved_to
from ..problem.dataset import Dataset
from ..problem.form import Form
from .batches import Source, evaluation_size

FOLDER = "features"
MOST_BYTES = 4 << 30
"""Of features kept beside one dataset: the least recently used go first."""


class FrozenFeatures:
    """Features of one dataset by gene identity, on disk and mapped into memory."""

    def __init__(self, dataset: Dataset, *, fetch: Callable[[str], Weights], most_bytes: int = MOST_BYTES) -> None:
        self._dataset, self._fetch, self._most = dataset, fetch, most_bytes
        self._folder = Folder(dataset.folder) / FOLDER

    def get(self, path: Path, gene: str, *, moved: tuple[int, int] = STILL) -> np.ndarray:
        """What `gene` of `path` gives for all rows of the dataset, float32 [N, ...]; rows are mapped, not read.

        `moved`: where pictures stand (see `probes.copies`). Raises ValueError if the gene depends on weights that are
        not stored.
        """
        part = path.giving({FOLDER: gene})
        place = "" if moved == STILL else f" {moved[0]} {moved[1]}"
        file = self._folder / f"{part.identities()[gene]}{place}.npy"
        if not file.exists():
            self._compute(part, file, moved)
        os.utime(file)
        mapped: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
        return mapped

    def _compute(self, part: Path, file: Folder, place: tuple[int, int]) -> None:
        ports = dict(self._dataset.problem.all_ports)
        module = build(part, ports, fetch=self._fetch).eval()
        for one in part.genes:
            if one.weights is None and has_tensors(module.module(one.name)):
                raise ValueError(f"gene {one.name!r} has no stored weights: its features are another's tomorrow")
        inputs = {port: self._dataset.inputs[port] for port in part.ports}
        inputs = {port: moved_to(array, place) if array.ndim == 4 else array for port, array in inputs.items()}
        source = Source(inputs, {}, device=torch.device("cpu"))
        rows = np.arange(len(self._dataset.folds))
        size = evaluation_size(part.work(ports))
        self._folder.mkdir(exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._folder, suffix=".tmp")
        os.close(handle)
        written = None
        try:
            with torch.inference_mode():
                for start in range(0, len(rows), size):
                    values = module(source.batch(rows[start : start + size]).inputs)[FOLDER].float().numpy()
                    if written is None:
                        shape = (len(rows), *values.shape[1:])
                        written = np.lib.format.open_memmap(name, mode="w+", dtype=np.float32, shape=shape)
                    written[start : start + len(values)] = values
            if written is not None:
                written.flush()
            os.replace(name, file)
        finally:
            Folder(name).unlink(missing_ok=True)
        self._evict(keep=file)

    def _evict(self, *, keep: Folder) -> None:
        files = sorted(self._folder.glob("*.npy"), key=lambda one: one.stat().st_mtime, reverse=True)
        total = 0
        for file in files:
            total += file.stat().st_size
            if total > self._most and file != keep:
                file.unlink(missing_ok=True)  # who has it mapped keeps it


@dataclass(frozen=True)
class View:
    """A path as a job computes it: what its frozen prefix gives stands in ports of its own, read from the cache."""

    path: Path
    ports: dict[str, Form]
    inputs: dict[str, np.ndarray]


def view(path: Path, dataset: Dataset, features: FrozenFeatures) -> View:
    """The path without its frozen prefix, and the arrays it then reads. Unchanged where nothing is frozen."""
    ports = dict(dataset.problem.all_ports)
    names = {gene: f"frozen {place}" for place, gene in enumerate(frontier(path)) if gene not in path.outputs.values()}
    if not names:
        return View(path, ports, {port: dataset.inputs[port] for port in path.ports})
    forms = path.forms(ports)
    rest = read_from_ports(path, names)
    arrays = {port: features.get(path, gene) for gene, port in names.items()}
    arrays |= {port: dataset.inputs[port] for port in rest.ports if port in ports}
    return View(rest, ports | {port: forms[gene] for gene, port in names.items()}, arrays)
