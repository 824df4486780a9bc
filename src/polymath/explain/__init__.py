"""Explain a task: evidence for what it can and cannot do, as one page that needs nothing but a browser."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..spec import BadInput
from .material import Entry, Record

if TYPE_CHECKING:
    from ..model.union import Union
    from ..store import Store

__all__ = ["Entry", "Record", "map_data", "write_map", "write_picture", "write_report"]


def write_report(
    store: Store, record: Record, path: str | Path, *, entries: Sequence[Entry] = (), cache: Path | None = None
) -> Path:
    """Writes the report of a task as one self-contained HTML page and returns where it is.

    `entries`: the rungs of its experiments, oldest first. `cache`: the folder of decoded data, from which the inputs of
    mistakes are shown if they are still there. Raises BadInput if the page cannot be written.
    """
    from .material import gather
    from .page import page

    return _write(Path(path), page(gather(store, record, entries, cache=cache)))


def write_picture(store: Store, record: Record, path: str | Path, *, entries: Sequence[Entry]) -> Path:
    """Writes the picture of a task's search as an SVG file: score over work by generator, and the best path.

    Raises BadInput if the file cannot be written.
    """
    from .material import gather
    from .search import picture

    return _write(Path(path), picture(gather(store, record, entries, cache=None)))


def write_map(union: Union, path: str | Path) -> Path:
    """Writes the map of the whole model, an SVG file or, with any other ending, an HTML page; returns where it is.

    Raises BadInput if the store holds no task or the file cannot be written.
    """
    from .map import map_file
    from .map_page import map_page

    target = Path(path)
    if not union.paths:
        raise BadInput("this store holds no task yet", remedy="Learn one first: polymath learn DATA.")
    return _write(target, map_file(union) if target.suffix.lower() == ".svg" else map_page(union))


def map_data(union: Union) -> dict[str, Any]:
    """The map as plain data: tasks with what they share, and boxes of genes that the same tasks hold."""
    from .map_page import map_data

    return map_data(union)


def _write(target: Path, content: str) -> Path:
    """Whole or not at all."""
    draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
    try:
        draft.write_text(content, encoding="utf-8")
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise BadInput(f"cannot be written: {error.strerror}", file=target, remedy="Give another --out.") from error
    return target
