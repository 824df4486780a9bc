"""The ledger as a file for other tools: JSON lines or Parquet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..search import Entry
from ..spec import BadInput, canonical, plain
from .listing import Tried

FLAT = ("version", "task", "dataset", "space", "seed", "key", "number", "rung", "label", "generator", "ok", "score")
"""Fields of an entry that are a column of their own as they are; `work` and `seconds` follow."""
TEXTS = ("trace", "request", "proxies", "fingerprint", "environment")
"""Fields that are one JSON text each in a table."""


def write(found: Sequence[Tried], path: Path) -> int:
    """One object or row per rung; returns how many. JSON lines hold all that the ledger holds. Raises BadInput."""
    rungs = [(one, entry) for one in found for entry in one.rungs]
    suffix = path.suffix.lower()
    if suffix not in (".jsonl", ".ndjson", ".parquet"):
        raise BadInput("is not a kind of file for experiments", file=path, remedy="Use .jsonl or .parquet.")
    try:
        if suffix == ".parquet":
            _write_parquet([_flat(one, entry) for one, entry in rungs], path)
        else:
            with path.open("w", encoding="utf-8") as file:
                for one, entry in rungs:
                    whole = {"id": one.id, "state": one.state, **entry.model_dump(mode="json")}
                    file.write(json.dumps(whole, ensure_ascii=False, allow_nan=False) + "\n")
    except OSError as error:
        raise BadInput(f"cannot be written: {error.strerror}", file=path, remedy="Give another file.") from error
    return len(rungs)


def _flat(one: Tried, entry: Entry) -> dict[str, Any]:
    outcome = entry.outcome
    return {
        "id": one.id,
        "state": one.state,
        **{name: getattr(entry, name) for name in (*FLAT, "work", "seconds")},
        "training_seconds": outcome.get("training_seconds"),
        "parameters": outcome.get("parameters"),
        "reason": outcome.get("reason") or None,
        "traceback": outcome.get("traceback") or None,
        "scores": canonical(plain(outcome.get("scores", {}))),
        "curve": canonical(plain(outcome.get("curve", []))),
        **{name: canonical(entry.model_dump(mode="json")[name]) for name in TEXTS},
    }


def _write_parquet(rows: Sequence[dict[str, Any]], path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {
        "version": pa.int32(),
        "number": pa.int64(),
        "rung": pa.int32(),
        "seed": pa.int64(),
        "parameters": pa.int64(),
        "ok": pa.bool_(),
    }
    numbers = dict.fromkeys(("score", "work", "seconds", "training_seconds"), pa.float64())
    names = list(rows[0]) if rows else ["id"]
    schema = pa.schema([(name, (kinds | numbers).get(name, pa.string())) for name in names])
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
