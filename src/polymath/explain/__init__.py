"""Explain a task: evidence for what it can and cannot do, as one page that needs nothing but a browser."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..spec import BadInput
from .material import Entry, Record

if TYPE_CHECKING:
    from ..store import Store

__all__ = ["Entry", "Record", "write_picture", "write_report"]


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
