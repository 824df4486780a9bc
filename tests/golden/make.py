"""Makes the golden store of this release; run once per release, by hand."""

import json
import tarfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris

from polymath import Polymath, __version__

frame = load_iris(as_frame=True).frame
frame["colour"] = np.where(np.arange(150) % 3 == 0, "blue", "red")
frame["note"] = np.where(
    frame["target"] == 0, "short petals of a small flower", "a taller plant with long petals seen near water"
)
frame["area"] = frame.pop("petal length (cm)") * frame.pop("petal width (cm)")
frame["target"] = frame["target"].map({0: "setosa", 1: "versicolor", 2: "virginica"})
frame.to_csv("rows.csv", index=False)
knowledge = Polymath("store")
task = knowledge.learn(
    "rows.csv", target=["target", "area"], name="flowers", work=1.5, lanes=1, engine="inline", types={"note": "text"}
)
print(task, task.record.members)
answers = task.predict(frame.iloc[::10])
knowledge.close()
import shutil

shutil.rmtree("store/scratch")
Path("rows.json").write_text(frame.iloc[::10].to_json(orient="records"))
Path("answers.json").write_text(json.dumps(answers))
with tarfile.open(f"store-{__version__}.tar.gz", "w:gz") as tar:
    for name in ("store", "rows.json", "answers.json"):
        tar.add(name)
