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

__all__ = ["Entry", "Record", "write_report"]


def write_report(
    store: Store, record: Record, path: str | Path, *, entries: Sequence[Entry] = (), cache: Path | None = None
) -> Path:
    """Writes the report of a task as one self-contained HTML page and returns where it is.

    `entries`: the rungs of its experiments, oldest first. `cache`: the folder of decoded data, from which the inputs of
    mistakes are shown if they are still there. Raises BadInput if the page cannot be written.
    """
    from .material import gather
    from .page import page

    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
    content = page(gather(store, record, entries, cache=cache))
    try:
        draft.write_text(content, encoding="utf-8")
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise BadInput(f"cannot be written: {error.strerror}", file=target, remedy="Give another --out.") from error
    return target
