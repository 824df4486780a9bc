"""Tasks learned in a second or two, to write reports of."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from polymath.knowledge import Polymath

NASTY = '<b>oak</b> & "co"'


@pytest.fixture(scope="session")
def mixed(tmp_path_factory):
    """Three outputs of three types from numbers, a date, names and a text; some values missing, one column constant."""
    folder = tmp_path_factory.mktemp("mixed")
    generator = np.random.default_rng(0)
    count = 160
    x = generator.normal(size=(count, 2))
    table = pa.table(
        {
            "x": x[:, 0],
            "gap": [None if i % 7 == 0 else float(v) for i, v in enumerate(x[:, 1])],
            "when": np.datetime64("2020-01-01", "s") + generator.integers(0, 900, count).astype("timedelta64[D]"),
            "kind<i>": generator.choice(["a", "b"], count),
            "words": [f"{'warm' if v > 0 else 'cold'} day number {i % 13} of <script>" for i, v in enumerate(x[:, 0])],
            "constant": ["same"] * count,
            "tree": np.where(x[:, 0] + generator.normal(size=count) > 0, NASTY, "beech"),
            "tags": [";".join(t for t, on in zip(("red", "old"), row > 0.2, strict=True) if on) or "none" for row in x],
            "height": x[:, 1] * 3 + generator.normal(size=count) + 20,
        }
    )
    knowledge = Polymath(folder / "knowledge")
    task = knowledge.learn(
        table,
        target=["tree", "tags", "height"],
        types={"tags": "labels", "words": "text"},
        name="forest & <script>alert(1)</script>",
        work=0.1,
        lanes=1,
        engine="inline",
        cache=str(folder / "cache"),
    )
    yield task, folder / "cache"
    knowledge.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory, digits_folder):
    """Which digit it is, learned badly on purpose, so that there are mistakes."""
    folder = tmp_path_factory.mktemp("pictures")
    knowledge = Polymath(folder / "knowledge")
    task = knowledge.learn(
        digits_folder, name="digits", work=0.002, lanes=1, engine="inline", cache=str(folder / "cache")
    )
    yield task, folder / "cache"
    knowledge.close()
