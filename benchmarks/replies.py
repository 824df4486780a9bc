"""Claim: replies from a set, 1 of 100 right for 45 % after 30 CPU-minutes; under 5 ms for 20,000 responses; a trigger.

    python benchmarks/replies.py              everything, in 30 minutes of one core
    python benchmarks/replies.py --quick      8,000 pairs, a minute for each: does it run?
    python benchmarks/replies.py --times 3    three times as long for each that learns

Pairs of the Schema-Guided Dialogue set, split by file as its authors did. Beside Polymath in the same run: chance, tf-idf of
words, and a dual encoder of hashed word n-grams trained for 121 CPU-seconds. All are scored by the same code: the true reply
among itself and 99 of other rows, drawn once; equal replies count as one. `polymath learn` is given the pairs as a file, and
one lane, so that its budget is CPU time: once the message alone, as the baselines are, and once with up to four turns
before it in a column of their own, the latest first. Most test files are about services of which no training dialogue speaks.

The trigger says whether a message is worth suggesting a reply for, and is a task of its own that may gate the replies
(`--gate`). Two truths are asked, both from what was really said: `conventional`, the reply that followed is one of a small
set, those said so many times or more in training; `suggested`, the three replies suggested for it hold the one that followed
or one of the same kind. The second is learned from training dialogues that the replies were not learned from. How many times
is settled before the test files are looked at: the fewest of 20, 50 and 100 for which a logistic regression on n-grams
reaches what is asked on files held out of the training files. The rarer a reply, the more it is chance that it was worded so.
A trigger is learned as a user would have a cheap one: heads on words only, which give up most of their score for as much
compute as a net (`--space heads --cost active=0.99 --fresh`). Its work is counted in multiply-adds beside those of answering
a message, without the tower that reads replies; time beside the replies is that of the processor, with reading the words.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

import common
import reporting

sys.path.insert(0, str(common.ROOT / "src"))

from polymath import Polymath
from polymath.model.replies import gene_of
from polymath.problem import Reply
from polymath.problem.features.reply import kind

DATA = common.ROOT.parent / "shared" / "data" / "dialogue"
NAME = "replies"
ASKED, AIM, MILLISECONDS, TRIGGER, SHARE = 0.45, 0.50, 5.0, 0.85, 0.01
BASELINE_SECONDS, TRIGGER_SECONDS = 121.0, 120.0
SECONDS = {("message",): 420.0, ("message", "before"): 840.0}
"""By the columns that are read: together with the rest half an hour."""
TURNS = 4
"""Before a message that are read with it."""
CHEAP = ("--space", "heads", "--cost", "active=0.99", "--fresh")
"""How a trigger is learned: a linear head on words, if it is as good as the rest."""
TIMED = 2_000
"""Test rows that are answered by trigger and replies while the time of both is taken."""
OFTEN = (20, 50, 100)
HELD_OUT = 8
"""Of the training files every so many are held out while it is settled how often a reply must be said."""
KEPT = 0.1
"""Share of the training dialogues that the replies are not learned from: they teach the second trigger."""


def pairs(part: str) -> pd.DataFrame:
    """Messages, replies and up to `TURNS` turns before each message, the latest first; '' where there was none."""
    frame = pd.read_csv(DATA / f"{part}.tsv.gz", sep="\t", quoting=3, keep_default_na=False)
    follows = (frame.dialogue_id == frame.dialogue_id.shift()) & (frame.reply.shift() == frame.message)
    before, said = [], list[str]()
    for message, goes_on in zip(frame.message, follows, strict=True):
        said = said if goes_on else []
        before.append(" ".join(said))
        said = [message, *said[: TURNS - 1]]
    return frame.assign(before=before)


def scored(message: np.ndarray, reply: np.ndarray, said: pd.Series) -> dict[str, float]:
    """Ranks of the true replies, by the code that scores the tasks."""
    target = pd.factorize(said.map(kind))[0][:, None] + 1
    return Reply(name="reply").scores(np.concatenate([message, reply], axis=1), target)


# Baselines ---------------------------------------------------------------------------------------------------------
def tf_idf(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """The reply whose words are most like the message's."""
    words = TfidfVectorizer(sublinear_tf=True, min_df=2).fit([*train.message, *train.reply])
    message, reply = words.transform(test.message), words.transform(test.reply)
    found, order = [], np.random.default_rng(0).permutation(len(test))
    kinds = pd.factorize(test.reply.map(kind))[0]
    for start in range(0, len(order) - 99, 100):
        rows = order[start : start + 100]
        likeness = (message[rows] @ reply[rows].T).toarray()
        truth, rival = np.diagonal(likeness)[:, None], kinds[rows][:, None] != kinds[rows]
        better, ties = ((likeness > truth) & rival).sum(1), ((likeness == truth) & rival).sum(1)
        found.append(np.stack([(better == 0) / (1 + ties), 1 / (1 + better + ties / 2)], 1))
    first, reciprocal = np.concatenate(found).mean(0).tolist()
    return {"recall_1_of_100": first, "mrr": reciprocal}


class Encoder(torch.nn.Module):
    """Hashed word 1- and 2-grams, added up, under one hidden layer: the plain dual encoder."""

    def __init__(self, *, buckets: int = 65_536, width: int = 128) -> None:
        super().__init__()
        self.table = torch.nn.EmbeddingBag(buckets, width, mode="mean")
        self.out = torch.nn.Sequential(torch.nn.Linear(width, 256), torch.nn.Tanh(), torch.nn.Linear(256, 256))

    def forward(self, texts: Sequence[np.ndarray]) -> torch.Tensor:
        begins = np.cumsum([0, *map(len, texts[:-1])])
        vectors: torch.Tensor = self.out(self.table(torch.from_numpy(np.concatenate(texts)), torch.from_numpy(begins)))
        return F.normalize(vectors, dim=1)


def dual_encoder(train: pd.DataFrame, test: pd.DataFrame, *, seconds: float, seed: int) -> dict[str, float]:
    """In-batch softmax for so many CPU-seconds, as Henderson et al. (2017)."""
    torch.manual_seed(seed)
    hashing = HashingVectorizer(ngram_range=(1, 2), n_features=65_536, norm=None, alternate_sign=False)

    def grams(texts: pd.Series) -> list[np.ndarray]:
        found = hashing.transform(texts)
        parts = np.split(found.indices.astype(np.int64), found.indptr[1:-1])
        return [part if len(part) else np.zeros(1, np.int64) for part in parts]

    message, reply = grams(train.message), grams(train.reply)
    towers = Encoder(), Encoder()
    rule = torch.optim.Adam([p for tower in towers for p in tower.parameters()], lr=2e-3)
    random, began = np.random.default_rng(seed), time.process_time()
    while (gone := (time.process_time() - began) / seconds) < 1:
        for group in rule.param_groups:
            group["lr"] = 2e-3 * (1 - gone)
        rows = random.choice(len(train), min(256, len(train)), replace=False)
        one, two = (tower([texts[i] for i in rows]) for tower, texts in zip(towers, (message, reply), strict=True))
        loss = F.cross_entropy(20 * one @ two.T, torch.arange(len(rows)))
        rule.zero_grad(set_to_none=True)
        loss.backward()
        rule.step()
    with torch.inference_mode():
        made = [
            np.concatenate([tower(texts[i : i + 1000]).numpy() for i in range(0, len(texts), 1000)])
            for tower, texts in zip(towers, (grams(test.message), grams(test.reply)), strict=True)
        ]
    return scored(20 * made[0], made[1], test.reply)


# Polymath ----------------------------------------------------------------------------------------------------------
def command(*words: str) -> tuple[dict[str, Any], float]:
    """The JSON of one command of ours, and the CPU-seconds of all its processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*common.polymath_command(), *words, "--json"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=common.environment(),
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return dict(json.loads(done.stdout)), spent


def learned(
    train: pd.DataFrame, test: pd.DataFrame, columns: Sequence[str], *, folder: Path, seconds: float, seed: int
) -> dict[str, Any]:
    """Replies learned from a file, scored on another."""
    name = f"replies-{'-'.join(columns)}-{seed}"
    for part, frame in (("train", train), ("test", test)):
        frame[[*columns, "reply", "dialogue_id"]].to_parquet(folder / f"{name}-{part}.parquet", index=False)
    types = [word for column in columns for word in ("--type", f"{column}=text")]
    words = ["--target", "reply", "--type", "reply=reply", *types, "--ignore", "dialogue_id", "--seed", str(seed)]
    split = ["--split", "group:dialogue_id", "--test-fraction", "0", "--lanes", "1", "--budget", f"{seconds:.0f}s"]
    store = ["--store", str(folder / "store")]
    told, spent = command("learn", str(folder / f"{name}-train.parquet"), "--name", name, *words, *split, *store)
    found, _ = command("evaluate", name, str(folder / f"{name}-test.parquet"), *store)
    return {
        **found["scores"],
        "task": name,
        "cpu_seconds": spent,
        "validation": told["validation"],
        "experiments": told["experiments"],
    }


def waiting(folder: Path, name: str, test: pd.DataFrame, *, responses: int, messages: int) -> dict[str, float]:
    """Milliseconds of one core from a message to its suggestions, one at a time, for a set of so many responses.

    The time of the process, not of the wall: on a quiet machine they are the same.
    """
    import pyarrow as pa

    torch.set_num_threads(1)
    with Polymath(folder / "store") as knowledge:
        predictor = knowledge.task(name).predictor
        feature = predictor.problem.outputs[0]
        assert isinstance(feature, Reply)
        # The set of these pairs is smaller: it is repeated until it is as large as was asked.
        times = -(-responses // len(feature.responses))
        longer = (feature.responses * times)[:responses]
        predictor.problem = predictor.problem.replace(outputs=(feature.replace(responses=longer),))
        clusters = predictor.record.calibration["reply"]["clusters"]
        predictor.record.calibration["reply"]["clusters"] = (clusters * times)[:responses]
        gene = predictor.module.module("responses.reply")
        table = gene.table_RD.repeat(times, 1)[:responses].detach()
        gene.table_RD = torch.nn.Parameter(table.contiguous(), requires_grad=False)
        gene.bias_R = torch.nn.Parameter(gene.bias_R.repeat(times)[:responses].detach(), requires_grad=False)
        columns = predictor.problem.columns
        rows = [pa.table({c: [str(test[c].iloc[n])] for c in columns}) for n in range(messages)]
        spent = []
        for row in [*rows[:20], *rows]:
            began = time.process_time()
            next(iter(predictor.predict(row)))
            spent.append(1000 * (time.process_time() - began))
    spent = sorted(spent[20:])
    return {"p50_ms": statistics.median(spent), "p99_ms": spent[int(0.99 * len(spent))], "responses": responses}


def suggestions(folder: Path, name: str, test: pd.DataFrame) -> dict[str, float]:
    """What three suggestions hold, with one of a cluster and without, and how unlike each other they are."""
    with Polymath(folder / "store") as knowledge:
        predictor = knowledge.task(name).predictor
        feature = predictor.problem.outputs[0]
        assert isinstance(feature, Reply)
        clusters = predictor.record.calibration["reply"]["clusters"]
        place = {response: clusters[i] for i, response in enumerate(feature.responses)}
        of_kind = {kind(response): clusters[i] for i, response in enumerate(feature.responses)}
        truth = test.reply.map(kind)
        found: dict[str, float] = {}
        for what, how in (("diverse", dict(predictor.record.calibration)), ("plain", {"reply": {}})):
            predictor.record = predictor.record.model_copy(update={"calibration": how})
            answers = [one["reply"] for part in predictor.predict(as_table(test, predictor)) for one in part]
            said = [[one["reply"] for one in answer["replies"]] for answer in answers]
            right = [any(kind(one) == true for one in three) for three, true in zip(said, truth, strict=True)]
            known = truth.isin(list(of_kind)).to_numpy()
            alike = [
                of_kind.get(true) in {place[one] for one in three} for three, true in zip(said, truth, strict=True)
            ]
            found |= {
                f"{what}: holds the reply": float(np.mean(right)),
                f"{what}: holds the reply, of those in the set": float(np.mean(np.array(right)[known])),
                f"{what}: holds one of its cluster, of those in the set": float(np.mean(np.array(alike)[known])),
                f"{what}: clusters among three": float(np.mean([len({place[one] for one in three}) for three in said])),
            }
    return found


def as_table(frame: pd.DataFrame, predictor: Any) -> Any:
    import pyarrow as pa

    return pa.Table.from_pandas(frame[list(predictor.problem.columns)], preserve_index=False)


def worth(folder: Path, name: str, frame: pd.DataFrame) -> list[str]:
    """'yes' where the three suggestions hold the reply that followed, or one of its cluster."""
    with Polymath(folder / "store") as knowledge:
        predictor = knowledge.task(name).predictor
        feature = predictor.problem.outputs[0]
        assert isinstance(feature, Reply)
        clusters = predictor.record.calibration["reply"]["clusters"]
        cluster = {kind(response): clusters[i] for i, response in enumerate(feature.responses)}
        answers = [one["reply"] for part in predictor.predict(as_table(frame, predictor)) for one in part]
    return [
        "yes" if cluster.get(kind(true), -1) in {cluster[kind(one["reply"])] for one in answer["replies"]} else "no"
        for answer, true in zip(answers, frame.reply, strict=True)
    ]


def settled(train: pd.DataFrame) -> tuple[int, dict[int, dict[str, float]]]:
    """How often a reply must have been said to be conventional, and what validation files say of each number tried.

    A logistic regression on the n-grams of the message and of what was said before, learned from the other files.
    """
    times = train.reply.map(kind)
    times = times.map(times.value_counts())
    held = (train.dialogue_id.str.split("_").str[0].astype(int) % HELD_OUT == 0).to_numpy()
    known = np.flatnonzero(~held)[::3]  # of that many rows a third says the same
    grams = HashingVectorizer(ngram_range=(1, 2), n_features=2**18, alternate_sign=False, binary=True)
    parts = [grams.transform(train[column]) for column in ("message", "before")]
    rows, found = sparse.hstack(parts).tocsr(), dict[int, dict[str, float]]()
    for number in OFTEN:
        truth = (times >= number).to_numpy()
        if truth[known].any() and truth[held].any():
            head = LogisticRegression(C=3.0, solver="liblinear", dual=True, tol=0.01).fit(rows[known], truth[known])
            auc = float(roc_auc_score(truth[held], head.decision_function(rows[held])))
            found[number] = {"auc": auc, "share_yes": float(truth.mean())}
    return next((n for n, one in found.items() if one["auc"] >= TRIGGER), max(found, default=OFTEN[0])), found


def trigger(
    what: str, train: pd.DataFrame, test: pd.DataFrame, *, folder: Path, seconds: float, seed: int, scorer: str
) -> dict[str, Any]:
    """A task that says 'yes' where `worth` does; how well, how much it costs beside the replies, what it saves."""
    name = f"trigger-{what}-{seed}"
    for part, frame in (("train", train), ("test", test)):
        frame[["message", "before", "worth", "dialogue_id"]].to_parquet(folder / f"{name}-{part}.parquet", index=False)
    texts = ["--type", "message=text", "--type", "before=text", "--ignore", "dialogue_id"]
    words = ["--target", "worth", *texts, "--metric", "auc", "--seed", str(seed), "--test-fraction", "0"]
    split = ["--split", "group:dialogue_id", "--lanes", "1", "--budget", f"{seconds:.0f}s", *CHEAP]
    store = ["--store", str(folder / "store")]
    _, spent = command("learn", str(folder / f"{name}-train.parquet"), "--name", name, *words, *split, *store)
    found, _ = command("evaluate", name, str(folder / f"{name}-test.parquet"), *store)
    with Polymath(folder / "store") as knowledge:
        one, other = (knowledge.task(task).predictor for task in (name, scorer))
        answering = other.path.giving({"reply": gene_of("reply")})
        work = [path.work(p.problem.all_ports) for p, path in ((one, one.path), (other, answering))]
        times = [seconds_of(predictor, test.iloc[:TIMED]) for predictor in (one, other)]
        answers = [row["worth"] for part in one.predict(as_table(test, one)) for row in part]
    chance = np.array([answer["probabilities"]["yes"] for answer in answers])
    yes = (test.worth == "yes").to_numpy()
    least = np.quantile(chance[yes], 0.05)
    return {
        "auc": found["scores"]["auc"],
        "share_yes": float(yes.mean()),
        "work_share": work[0] / work[1],
        "time_share": times[0] / times[1],
        "saved_at_95_recall": float((chance < least).mean()),
        "cpu_seconds": spent,
    }


def seconds_of(predictor: Any, frame: pd.DataFrame) -> float:
    """Of one core for answering these rows together, after a first time."""
    table = as_table(frame, predictor)
    for _ in range(2):
        began = time.process_time()
        answered = sum(len(part) for part in predictor.predict(table))
        spent = time.process_time() - began
        assert answered == len(frame)
    return spent


# All of it ---------------------------------------------------------------------------------------------------------
def run(folder: Path, *, quick: bool, times: float, seed: int) -> dict[str, Any]:
    train, test = pairs("train"), pairs("test")
    if quick:
        chosen = train.dialogue_id.drop_duplicates().sample(500, random_state=0)
        train, test = train[train.dialogue_id.isin(chosen)], test.iloc[:3_000]
    scale = 1 / 30 if quick else times
    dialogues = train.dialogue_id.drop_duplicates()
    kept = train.dialogue_id.isin(dialogues.sample(frac=KEPT, random_state=seed))
    result: dict[str, Any] = {
        "systems": {
            "chance": {"recall_1_of_100": 0.01, "mrr": float(np.mean(1 / np.arange(1, 101)))},
            "tf-idf of words": tf_idf(train, test),
            "hashed n-gram dual encoder": dual_encoder(
                train, test, seconds=max(BASELINE_SECONDS * scale, 10.0), seed=seed
            ),
        }
    }
    for columns, seconds in SECONDS.items():
        told = learned(train[~kept], test, columns, folder=folder, seconds=max(seconds * scale, 60.0), seed=seed)
        result["systems"][f"polymath, {' and '.join(columns)}"] = told
    name = told["task"]
    result["waiting"] = waiting(folder, name, test, responses=20_000, messages=100 if quick else 500)
    result["suggestions"] = suggestions(folder, name, test)
    number, result["often"] = settled(train)
    often = train.reply.map(kind).value_counts()
    often = set(often[often >= number].index)
    conventional = [
        frame.assign(worth=np.where(frame.reply.map(kind).isin(often), "yes", "no")) for frame in (train, test)
    ]
    suggested = [frame.assign(worth=worth(folder, name, frame)) for frame in (train[kept], test)]
    result["triggers"] = {
        what: trigger(what, *frames, folder=folder, seconds=max(TRIGGER_SECONDS * scale, 30.0), seed=seed, scorer=name)
        for what, frames in (("conventional", conventional), ("suggested", suggested))
    }
    result["triggers"]["conventional"]["times"] = number
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    result["cpu_seconds"] = sum(one.ru_utime + one.ru_stime for one in spent)
    return result


def body(found: dict[str, Any]) -> list[str]:
    """The tables of the report."""
    rows = [
        [
            name,
            f"{100 * one['recall_1_of_100']:.1f} %",
            f"{one['mrr']:.3f}",
            f"{one['cpu_seconds']:.0f}" if "cpu_seconds" in one else "",
        ]
        for name, one in found["systems"].items()
    ]
    ours = {name: one["recall_1_of_100"] for name, one in found["systems"].items() if name.startswith("polymath")}
    wait, conventional = found["waiting"], found["triggers"]["conventional"]
    asked = [
        *(
            [f"1 of 100: {name}", "45 % (aim 50 %)", f"{100 * got:.1f} %", reporting.verdict(got >= ASKED)]
            for name, got in ours.items()
        ),
        [
            "20,000 responses, one core, p50",
            "5 ms",
            f"{wait['p50_ms']:.2f} ms (p99 {wait['p99_ms']:.2f})",
            reporting.verdict(wait["p50_ms"] < MILLISECONDS),
        ],
        [
            f"trigger, AUC (replies said {conventional['times']} times or more)",
            "0.85",
            f"{conventional['auc']:.3f}",
            reporting.verdict(conventional["auc"] >= TRIGGER),
        ],
        [
            "trigger, work beside the replies",
            "1 %",
            f"{100 * conventional['work_share']:.1f} %",
            reporting.verdict(conventional["work_share"] <= SHARE),
        ],
    ]
    triggers = [
        [
            name,
            f"{100 * one['share_yes']:.0f} %",
            f"{one['auc']:.3f}",
            f"{100 * one['work_share']:.1f} %",
            f"{100 * one['time_share']:.0f} %",
            f"{100 * one['saved_at_95_recall']:.0f} %",
            f"{one['cpu_seconds']:.0f}",
        ]
        for name, one in found["triggers"].items()
    ]
    return [
        *reporting.table(["what", "asked", "got", ""], asked),
        "## Which of 100 replies",
        "",
        *reporting.table(["system", "1 of 100", "MRR", "CPU-s"], rows),
        "## Three suggestions from the set",
        "",
        *reporting.table(["what", "got"], [[name, f"{value:.3f}"] for name, value in found["suggestions"].items()]),
        "## Triggers",
        "",
        *reporting.table(
            [
                "truth",
                "yes",
                "AUC",
                "work beside the replies",
                "time beside the replies",
                "turned down at 95 % recall",
                "CPU-s",
            ],
            triggers,
        ),
        "How often a reply must have been said, settled on training files held out:",
        "",
        *reporting.table(
            ["times", "yes", "AUC of n-grams there"],
            [[str(n), f"{100 * one['share_yes']:.0f} %", f"{one['auc']:.3f}"] for n, one in found["often"].items()],
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few pairs, a minute each: does it run?")
    parser.add_argument("--times", type=float, default=1.0, help="so many times as long for each that learns")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if not DATA.exists():
        raise SystemExit(f"the pairs are not there: {DATA}")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="polymath-replies-") as folder:
        found = run(Path(folder), quick=chosen.quick, times=chosen.times, seed=chosen.seed)
    stem = f"{NAME}-quick" if chosen.quick else NAME
    common.keep(common.HERE / "results" / f"{stem}.jsonl", {"seed": chosen.seed, "when": common.now(), **found})
    about = (__doc__ or "").split("\n\n", 2)[2].replace("\n", " ").strip()
    file = reporting.page(
        NAME,
        body(found),
        title="Replies",
        about=about,
        told=[f"Seed {chosen.seed}", f"{found['cpu_seconds']:.0f} CPU-seconds in all"],
        quick=chosen.quick,
    )
    print(file.read_text())


if __name__ == "__main__":
    main()
