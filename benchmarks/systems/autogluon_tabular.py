"""AutoGluon tabular, preset medium_quality: its own budget option gets the whole budget."""

from __future__ import annotations

import time
from pathlib import Path

import pandas
from autogluon.tabular import TabularPredictor
from frames import read
from job import folder_bytes, read_job, write_answer


def main() -> None:
    job = read_job()
    train, target, test = read(job)
    train[job.target] = target
    category = job.kind == "category"
    problem = "regression" if not category else "binary" if target.nunique() == 2 else "multiclass"
    folder = Path(job.scratch) / "autogluon"
    model = TabularPredictor(
        label=job.target,
        problem_type=problem,
        path=str(folder),
        verbosity=0,
        eval_metric="accuracy" if category else "root_mean_squared_error",
    )
    model.fit(train, presets="medium_quality", time_limit=job.budget, num_gpus=0)
    fitted = time.monotonic()
    if category:
        shares: pandas.DataFrame = model.predict_proba(test)
        classes = [str(name) for name in shares.columns]
        output = {
            "values": [str(value) for value in model.predict(test)],
            "classes": classes,
            "probabilities": shares.to_numpy().tolist(),
        }
    else:
        output = {"values": model.predict(test).tolist()}
    write_answer(
        {job.target: output},
        fitted=fitted,
        packages=("autogluon.tabular", "lightgbm", "catboost", "xgboost-cpu", "torch"),
        model_bytes=folder_bytes(folder),
        notes={"best": model.model_best, "models": len(model.model_names())},
    )


if __name__ == "__main__":
    main()
