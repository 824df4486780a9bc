"""Makes the golden store of this release in the current folder; run by hand once per release, never for an old one."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris

from polymath import Polymath, __version__


def main() -> None:
    frame = load_iris(as_frame=True).frame
    frame["colour"] = np.where(np.arange(150) % 3 == 0, "blue", "red")
    short, tall = "short petals of a small flower", "a taller plant with long petals seen near water"
    frame["note"] = np.where(frame["target"] == 0, short, tall)
    frame["area"] = frame.pop("petal length (cm)") * frame.pop("petal width (cm)")
    frame["target"] = frame["target"].map({0: "setosa", 1: "versicolor", 2: "virginica"})
    knowledge = Polymath("store")
    task = knowledge.learn(
        frame, target=["target", "area"], name="flowers", work=1.5, lanes=1, engine="inline", types={"note": "text"}
    )
    shown = frame.iloc[::10]
    Path("answers.json").write_text(json.dumps(task.predict(shown)))
    Path("rows.json").write_text(shown.to_json(orient="records"))
    knowledge.close()
    shutil.rmtree("store/scratch")
    with tarfile.open(f"store-{__version__}.tar.gz", "w:gz") as tar:
        for name in ("store", "rows.json", "answers.json"):
            tar.add(name)


if __name__ == "__main__":
    main()
