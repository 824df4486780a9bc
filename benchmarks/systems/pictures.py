"""Reading a job's picture folder (`metadata.csv` with file_name, label) into one array, the same way for each."""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from PIL import Image


def read(folder: str) -> tuple[numpy.ndarray, list[str]]:
    """(pictures [B,H,W,C] uint8, labels or empty strings); all pictures of a set have one size."""
    root = Path(folder)
    with (root / "metadata.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))

    def one(row: dict[str, str]) -> numpy.ndarray:
        with Image.open(root / row["file_name"]) as picture:
            array = numpy.asarray(picture)
        return array if array.ndim == 3 else array[:, :, None]

    with ThreadPoolExecutor(2) as pool:
        pictures = list(pool.map(one, rows, chunksize=512))
    return numpy.stack(pictures), [row.get("label", "") for row in rows]
