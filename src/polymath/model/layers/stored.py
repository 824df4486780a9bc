"""Parts of a layer that are objects of the store: fetched when a batch needs them, and only so many kept.

So a path can be larger than memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from torch import nn

Weights: TypeAlias = Mapping[str, np.ndarray]
"""Tensors by their names."""
Fetch: TypeAlias = Callable[[str], Weights]
"""Address of stored weights -> the weights."""
MOST_BYTES = 1 << 29
"""Kept of what was fetched last, unless told otherwise."""


def no_store(address: str) -> Weights:
    """The fetch of a module that was built without a store."""
    raise ValueError(f"weights {address} are in a store, and there is no store to fetch them from")


class Fetching(nn.Module):
    """A module with such parts; `model.build` gives it the `fetch` of its store."""

    def __init__(self) -> None:
        super().__init__()
        self.fetch: Fetch = no_store


class Recent:
    """A fetch that keeps what was used last, at most `most_bytes`; the least recently used goes first.

    One object larger than that is fetched all the same, and is then the only one kept.
    """

    def __init__(self, fetch: Fetch, *, most_bytes: int = MOST_BYTES) -> None:
        self._fetch, self._most = fetch, most_bytes
        self._kept: OrderedDict[str, Weights] = OrderedDict()
        self.bytes_held, self.most_held, self.fetched = 0, 0, 0

    def __call__(self, address: str) -> Weights:
        if address in self._kept:
            self._kept.move_to_end(address)
            return self._kept[address]
        found = self._fetch(address)
        size = _size(found)
        while self._kept and self.bytes_held + size > self._most:
            _, gone = self._kept.popitem(last=False)
            self.bytes_held -= _size(gone)
        self._kept[address] = found
        self.bytes_held += size
        self.most_held = max(self.most_held, self.bytes_held)
        self.fetched += 1
        return found


def _size(weights: Weights) -> int:
    return sum(array.nbytes for array in weights.values())
