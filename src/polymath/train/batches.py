"""Rows of memory-mapped arrays as batches on the device: one index gather per batch, bytes stay bytes until there."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SHARE_OF_DEVICE = 0.25
"""A dataset that fills at most this share of a GPU's free memory is moved there as a whole."""

WINDOW = 50
"""Batches whose rows are sorted by length together: on Multi30k 12 % is then padding, unsorted 53 %."""


@dataclass(frozen=True)
class Batch:
    """Inputs by port and targets by output, on the device."""

    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]
    weights: Tensor | None = None
    """How much each row counts, [B]; None = all the same."""


class Source:
    """The arrays of the ports and outputs that a path uses, ready to be gathered by row index.

    On the CPU nothing is copied: the system's page cache holds what is used, so data larger than memory streams.
    """

    def __init__(
        self,
        inputs: Mapping[str, np.ndarray],
        targets: Mapping[str, np.ndarray],
        *,
        weights: np.ndarray | None = None,
        device: torch.device,
    ) -> None:
        self.device = device
        arrays = {**{f"in {k}": v for k, v in inputs.items()}, **{f"out {k}": v for k, v in targets.items()}}
        if weights is not None:
            arrays["weights "] = weights
        whole = device.type == "cuda" and sum(a.nbytes for a in arrays.values()) < SHARE_OF_DEVICE * _free(device)
        tensors = {name: _tensor(array) for name, array in arrays.items()}
        self._unsigned = {name for name, array in arrays.items() if array.dtype == np.uint16}
        self._tensors = {name: t.to(device) for name, t in tensors.items()} if whole else tensors
        self._home = device if whole else torch.device("cpu")

    def batch(self, rows: np.ndarray) -> Batch:
        """The batch of these rows (indices into the dataset), in this order."""
        index = torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64)).to(self._home)
        parts: dict[str, dict[str, Tensor]] = {"in": {}, "out": {}, "weights": {}}
        for name, tensor in self._tensors.items():
            value = tensor.index_select(0, index).to(self.device, non_blocking=True)
            if name in self._unsigned:  # kept as signed 16 bit, which torch can gather
                value = value.int() & 0xFFFF
            kind, _, key = name.partition(" ")
            parts[kind][key] = value
        return Batch(parts["in"], parts["out"], parts["weights"].get(""))

    def chunks(self, rows: np.ndarray, *, size: int) -> Iterator[Batch]:
        """All these rows in order, `size` at a time."""
        for start in range(0, len(rows), size):
            yield self.batch(rows[start : start + size])


def _tensor(array: np.ndarray) -> Tensor:
    if array.dtype == np.uint16:
        array = array.view(np.int16)
    elif array.dtype == np.uint32:
        array = array.view(np.int32)  # ids stay far below 2**31
    with warnings.catch_warnings():  # read-only memory maps are only ever read
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(array))


def _free(device: torch.device) -> int:
    free, _ = torch.cuda.mem_get_info(device)
    return int(free)


class Order:
    """Which rows make which step's batch: a permutation per epoch from counters, so any step can be found at once.

    `lengths` (one for each of `rows`): rows of like length make a batch, so that little of it is padding. An epoch's
    permutation is sorted within windows of `WINDOW` batches, and the batches come in random order.
    """

    def __init__(self, rows: np.ndarray, *, batch: int, seed: int, lengths: np.ndarray | None = None) -> None:
        assert lengths is None or len(lengths) == len(rows), "one length for each row"
        self._rows, self._lengths = rows, lengths
        self.batch = min(batch, len(rows))
        self.steps_per_epoch = max(len(rows) // self.batch, 1)
        self._seed = seed
        self._epoch = -1
        self._permuted = rows

    def __call__(self, step: int) -> np.ndarray:
        """Rows of the batch of this step. An epoch's remainder that fills no batch is left out, another each time."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            random = counter_random(self._seed, epoch)
            self._permuted = self._rows[self._sorted(random.permutation(len(self._rows)), random)]
            self._epoch = epoch
        return self._permuted[place * self.batch : (place + 1) * self.batch]

    def _sorted(self, places: np.ndarray, random: np.random.Generator) -> np.ndarray:
        if self._lengths is None:
            return places
        whole = places[: self.steps_per_epoch * self.batch]
        window = WINDOW * self.batch
        parts = [whole[start : start + window] for start in range(0, len(whole), window)]
        alike = np.concatenate([part[np.argsort(self._lengths[part], kind="stable")] for part in parts])
        return alike.reshape(self.steps_per_epoch, self.batch)[random.permutation(self.steps_per_epoch)].reshape(-1)


def counter_random(*counters: int) -> np.random.Generator:
    """Random numbers that depend on these counters only (at most three): no state to keep or to store."""
    key = 0
    for counter in counters:
        key = (key << 42) + (counter & ((1 << 42) - 1))
    return np.random.Generator(np.random.Philox(key=key))


def sample(rows: np.ndarray, *, size: int, seed: int) -> np.ndarray:
    """At most `size` of these rows, drawn without replacement, in ascending order."""
    if len(rows) <= size:
        return rows
    return np.sort(counter_random(seed).choice(rows, size, replace=False))


def evaluation_size(macs: float) -> int:
    """Rows per batch without gradients: larger for cheap paths, 64 to 4096; fewer where one row is large."""
    least = 64 if macs < 2e8 else max(1, int(64 * 2e8 / macs))
    return int(min(max(2.0 ** math.floor(math.log2(2e9 / max(macs, 1.0))), least), 4096))
