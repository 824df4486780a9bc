"""The mixed set: real pictures, real texts and real measurements, joined by class.

Every row is one real diamond of ggplot2::diamonds. Its clarity grade (five of the eight grades) also chooses the class
of a real Fashion-MNIST picture and the section of a real Debian package description; within the class the three are
paired at random (seed 0), each real part used once. Inputs: file_name (picture), description (text), carat, depth and
table (numbers). Outputs: clarity (category) and price (number).

Why this join: the five pictures are the ones that people confuse (T-shirt, pullover, dress, coat, shirt), the five
sections overlap, and a diamond's carat says little of its clarity, so all three inputs know something of `clarity`
and none knows all; and `price` needs the carat (numbers) and the clarity (picture and text). The parts are real, the
pairing is ours: the benchmark shows that inputs are combined, not that diamonds wear shirts.
"""

from __future__ import annotations

from pathlib import Path

import numpy
import pandas
from PIL import Image

from prepare.images import FASHION, fashion_arrays, write_metadata
from prepare.tables import TABLES
from prepare.tables import build as build_table
from prepare.texts import section_rows

PER_CLASS = 1_200
JOIN = {
    "SI2": ("shirt", "utils"),
    "SI1": ("t-shirt", "admin"),
    "VS2": ("pullover", "net"),
    "VS1": ("coat", "devel"),
    "VVS2": ("dress", "misc"),
}


def build(folder: Path, *, cache: Path) -> dict[str, object]:
    """Write the folder and return its manifest entry."""
    random = numpy.random.default_rng(0)
    fashion_source, parts = fashion_arrays(cache)
    pictures, labels = parts["train"]
    texts, text_sources = section_rows(cache)
    diamonds_table = next(table for table in TABLES if table.name == "diamonds")
    diamonds_entry = build_table(diamonds_table, folder=folder, cache=cache)
    diamonds = pandas.read_csv(folder / "data.csv")
    (folder / "data.csv").unlink()
    rows: list[tuple[str, ...]] = []
    for clarity, (garment, section) in JOIN.items():
        which = random.permutation(numpy.flatnonzero(labels == FASHION.index(garment)))[:PER_CLASS]
        said = random.permutation(numpy.array([text for text, found in texts if found == section], dtype=object))[
            :PER_CLASS
        ]
        stones = diamonds[diamonds["clarity"] == clarity].sample(PER_CLASS, random_state=0)
        count = min(len(which), len(said), len(stones))
        for index, text, stone in zip(which[:count], said[:count], stones.itertuples(), strict=False):
            name = f"images/{index:05d}.png"
            Image.fromarray(pictures[index]).save(folder / name, compress_level=1)
            rows.append(
                (name, text, *(str(value) for value in (stone.carat, stone.depth, stone.table, clarity, stone.price)))
            )
    order = random.permutation(len(rows))
    header = ("file_name", "description", "carat", "depth", "table", "clarity", "price")
    write_metadata(folder, rows=[rows[index] for index in order], header=header)
    held = diamonds_entry["sources"]
    assert isinstance(held, list)
    return {
        "sources": [fashion_source.record(), *text_sources, *held],
        "size": 28,
        "channels": 1,
        "per_class": PER_CLASS,
    }
