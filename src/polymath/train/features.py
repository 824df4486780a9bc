"""What frozen genes give for the rows of a dataset: computed once, kept beside the decoded data, used by every job.

The key is the identity of the gene (its layers and weights, all the way up), so it never goes stale. Two processes that
compute the same features at once write the same bytes; the later one wins.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path as Folder

import numpy as np
import torch

from ..model.build import Weights, build, has_tensors
from ..model.path import Path
from ..problem.dataset import Dataset
from .batches import Source, evaluation_size

FOLDER = "features"
MOST_BYTES = 4 << 30
"""Of features kept beside one dataset: the least recently used go first."""


class FrozenFeatures:
    """Features of one dataset by gene identity, on disk and mapped into memory."""

    def __init__(self, dataset: Dataset, *, fetch: Callable[[str], Weights], most_bytes: int = MOST_BYTES) -> None:
        self._dataset, self._fetch, self._most = dataset, fetch, most_bytes
        self._folder = Folder(dataset.folder) / FOLDER

    def get(self, path: Path, gene: str) -> np.ndarray:
        """What `gene` of `path` gives for all rows of the dataset, float32 [N, ...]; rows are mapped, not read.

        Raises ValueError if the gene depends on weights that are not stored.
        """
        part = path.giving({FOLDER: gene})
        file = self._folder / f"{part.identities()[gene]}.npy"
        if not file.exists():
            self._compute(part, file)
        os.utime(file)
        mapped: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
        return mapped

    def _compute(self, part: Path, file: Folder) -> None:
        ports = dict(self._dataset.problem.ports)
        module = build(part, ports, fetch=self._fetch).eval()
        for one in part.genes:
            if one.weights is None and has_tensors(module.module(one.name)):
                raise ValueError(f"gene {one.name!r} has no stored weights: its features are another's tomorrow")
        source = Source({port: self._dataset.inputs[port] for port in part.ports}, {}, device=torch.device("cpu"))
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


def standing_for(path: Path, genes: Mapping[str, str]) -> Path:
    """The rest of a path when some genes are read from ports: `genes` = gene -> port that stands for it."""
    known = {name: f"in:{port}" for name, port in genes.items()}
    kept = []
    needed = set(path.outputs.values())
    for gene in reversed(path.genes):
        if gene.name in needed and gene.name not in known:
            needed.update(gene.inputs)
    for gene in path.genes:
        if gene.name in needed and gene.name not in known:
            kept.append(gene.replace(inputs=tuple(known.get(source, source) for source in gene.inputs)))
    return Path(genes=tuple(kept), outputs=path.outputs)
