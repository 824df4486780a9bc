"""FLAML AutoML: its own budget option gets the whole budget, its metric is the one that ranks."""

from __future__ import annotations

import time

import pandas
from flaml import AutoML
from frames import read
from job import read_job, write_answer


def main() -> None:
    job = read_job()
    train, target, test = read(job)
    for column in train:
        if not pandas.api.types.is_numeric_dtype(train[column]):
            train[column], test[column] = train[column].astype("category"), test[column].astype("category")
    category = job.kind == "category"
    model = AutoML()
    model.fit(
        X_train=train,
        y_train=target,
        task="classification" if category else "regression",
        seed=job.seed,
        metric="accuracy" if category else "rmse",
        time_budget=job.budget,
        n_jobs=-1,
        verbose=0,
        log_file_name=f"{job.scratch}/flaml.log",
    )
    fitted = time.monotonic()
    output = {"values": model.predict(test).tolist()}
    if category:
        output |= {
            "classes": [str(name) for name in model.classes_],
            "probabilities": model.predict_proba(test).tolist(),
        }
    write_answer(
        {job.target: output},
        fitted=fitted,
        packages=("flaml", "lightgbm", "xgboost", "scikit-learn"),
        notes={"best": str(model.best_estimator)},
    )


if __name__ == "__main__":
    main()
