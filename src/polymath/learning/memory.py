"""What generators carry from one search to the next: tensors in the store, pinned when a search begins."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..store import Store

MEMORY, SEARCH = "memory", "search"
"""Kinds of records: the tensors a generator left behind; which of them a search began with."""


def begin(store: Store, search: str, *, generator: str, space: str) -> Mapping[str, np.ndarray]:
    """The tensors that `generator` left in this space before `search` first began; none when there are none.

    A search that was killed and goes on gets what it began with, whatever was learned meanwhile.
    """
    pinned = store.find(SEARCH, search)
    if pinned is None:
        left = store.head(_head(generator, space)) or ""
        store.add_record(SEARCH, {"memory": left}, refs=[left] if left else [], id=search)
    else:
        left = str(store.record(pinned)["memory"])
    return store.get_tensors(str(store.record(left)["tensors"]), finite=True) if left else {}


def end(store: Store, tensors: Mapping[str, np.ndarray], *, generator: str, space: str) -> None:
    """Leaves tensors for later searches of the same space."""
    if not tensors:
        return
    address = store.put_tensors(dict(tensors))
    body = {"generator": generator, "space": space, "tensors": address}
    store.set_head(_head(generator, space), store.add_record(MEMORY, body, refs=[address]))


def _head(generator: str, space: str) -> str:
    return f"memory/{generator}/{space}"
