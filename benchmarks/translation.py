"""Claim: a Transformer >= 38 BLEU on Multi30k en-de in 2 CPU-hours, stacked LSTMs with attention >= 35, and more.

python benchmarks/translation.py [--quick] [--only multi30k enja documentation throughput search] [--hours 2] [--threads 1]

multi30k       a Transformer and stacked LSTMs, greedy and beam 5, beside copying and a translation memory (nearest neighbour)
enja           English -> Japanese: stacked LSTMs with and without attention
documentation  the help pages of LibreOffice, English -> German, split by page: the same beside the same
throughput     target tokens per second of one core, the Transformer's weights here and in CTranslate2, float32 and int8
search         what `polymath learn` makes of Multi30k in the same CPU time

BLEU by sacrebleu, of Multi30k test2016 (the test part is read once, at the end). Needs ../shared/data; documentation is
prepared by data.py.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

import common
import data
import reporting

SHARED = common.ROOT.parent / "shared" / "data"
PARTS = ("multi30k", "enja", "documentation", "throughput", "search")
QUICK_PAIRS, QUICK_TEST, QUICK_SECONDS = 3_000, 200, 20.0
NETS: dict[str, dict[str, Any]] = {
    "Transformer": {"family": "transformer", "dropout": 0.3},
    "stacked LSTMs, attention": {"family": "stacked", "depth": 4},
    "stacked LSTMs, no attention": {"family": "stacked", "depth": 4, "look": "none"},
    "stacked LSTMs, attention, recall": {"family": "stacked", "depth": 4, "recall": True},
    "Transformer, recall": {"family": "transformer", "recall": True},
}
"""Choices of the space of sentences; all others at their defaults. The dropout is that of the literature's small nets for
tens of epochs of this set; the space begins at 0.1, which is right for the minutes that `learn` usually gets.
"""
USUAL = tuple(name for name in NETS if "recall" not in name)
"""Trained unless `--nets` says otherwise."""


@dataclass(frozen=True)
class Pairs:
    """Texts to read and to write, by part: train, validation, test."""

    name: str
    source: str
    target: str
    read: dict[str, list[str]]
    written: dict[str, list[str]]


def pairs(name: str, *, quick: bool, cache: Path = data.DEFAULT_CACHE) -> Pairs:
    """A set of ../shared/data, or `documentation`; with `quick` the first rows."""
    if name == "documentation":
        return _documentation(quick=quick, cache=cache)
    files, source, target = {
        "multi30k": (("train", "valid", "test2016"), "en", "de"),
        "enja": (("train", "dev", "test"), "en", "ja"),
    }[name]
    read: dict[str, list[str]] = {}
    written: dict[str, list[str]] = {}
    for part, file in zip(("train", "validation", "test"), files, strict=True):
        with gzip.open(SHARED / name / f"{file}.tsv.gz", "rt", encoding="utf-8", newline="\n") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
        rows = rows[: (QUICK_PAIRS if part == "train" else QUICK_TEST) if quick else None]
        read[part], written[part] = [row[source] for row in rows], [row[target] for row in rows]
    return Pairs(name, source, target, read, written)


def _documentation(*, quick: bool, cache: Path) -> Pairs:
    data.prepare("documentation", cache=cache)
    with (cache / "sets" / "documentation" / "data.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    read: dict[str, list[str]] = {}
    written: dict[str, list[str]] = {}
    for part in ("train", "validation", "test"):
        chosen = [row for row in rows if row["split"] == part]
        chosen = chosen[: (QUICK_PAIRS if part == "train" else QUICK_TEST) if quick else None]
        read[part], written[part] = [row["en"] for row in chosen], [row["de"] for row in chosen]
    return Pairs("documentation", "en", "de", read, written)


def bleu(said: Sequence[str], truth: Sequence[str]) -> dict[str, float]:
    from polymath.problem.features._sentences import text_scores

    found = text_scores(said, truth)
    if not found:
        raise SystemExit("sacrebleu is not installed: pip install sacrebleu")
    return found


def memory_of(given: Pairs) -> list[str]:
    """What the nearest training text (tf-idf of words and letters) was translated as."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), sublinear_tf=True)
    seen = make_union(words, letters)
    known = seen.fit_transform(given.read["train"])
    nearest = numpy.asarray((seen.transform(given.read["test"]) @ known.T).argmax(1)).ravel()
    return [given.written["train"][i] for i in nearest]


class Trained:
    """A net of fixed design, trained by the same room that `learn` uses."""

    def __init__(self, given: Pairs, net: str, *, seconds: float, threads: int, folder: Path) -> None:
        import pyarrow as pa

        from polymath.model.build import build
        from polymath.problem import Problem
        from polymath.problem.dataset import Dataset
        from polymath.problem.inference import infer
        from polymath.problem.sources import read
        from polymath.search.spaces import sentences
        from polymath.store import Store
        from polymath.train import rung
        from polymath.train.job import Context, Job

        parts = ("train", "validation", "test")
        columns = {
            name: [text for part in parts for text in side[part]]
            for name, side in ((given.source, given.read), (given.target, given.written))
        }
        rows = read(pa.table(columns))
        found = infer(rows, target=[given.target])
        problem = Problem(name=given.name, inputs=found.inputs, outputs=found.outputs)
        fold_of = {"train": 1, "validation": 0, "test": -1}
        folds = numpy.concatenate([numpy.full(len(given.read[part]), fold_of[part]) for part in parts])
        dataset = Dataset.build(rows, problem, folds, folder / "datasets")
        wished = NETS[net]

        def choose(name: str, first: Any, high: Any = None, /, *, log: bool = False) -> Any:
            if name in wished:
                return wished[name]
            return first[0] if high is None else (first * high) ** 0.5 if log else (first + high) / 2

        path, recipe = sentences.space(choose, dataset.problem, rows=len(given.read["train"]))
        job = Job(dataset=dataset.digest, path=path, recipe=recipe, folds=(0,), work=1e12, rate=(1.0, 0.0))
        context = Context(
            dataset_folder=str(dataset.folder), scratch=str(folder / "scratch"), seconds=seconds, threads=threads
        )
        began = time.process_time()
        outcome = rung.run(job, context)
        if not outcome.ok:
            raise RuntimeError(outcome.reason)
        self.cpu_seconds = time.process_time() - began
        self.problem, self.path, self.curve = dataset.problem, outcome.paths[0], outcome.curve
        self.log_loss, self.parameters = -(outcome.score or 0.0), outcome.parameters
        with Store.open(folder / "scratch", scratch=True) as store:
            self.module = build(self.path, dataset.problem.all_ports, fetch=store.get_tensors).eval()
        self.given = given
        self.ready: dict[bool, Any] = {}
        test = dataset.test
        self.inputs = {port: numpy.asarray(dataset.inputs[port][test]) for port in dataset.problem.ports}

    def said(self, **settings: Any) -> tuple[list[str], int, float]:
        """Answers to the test texts, their tokens, CPU-seconds; a net is made ready before, as peers load theirs."""
        from polymath.model.decode import Decoding, in_integers, packed, written

        feature, how = self.problem.outputs[0], Decoding(**settings)
        if how.integers not in self.ready:
            self.ready[how.integers] = in_integers(self.module) if how.integers else packed(self.module)
        began = time.process_time()
        ids, _ = written(self.ready[how.integers], feature, self.inputs, how)
        seconds = time.process_time() - began
        return [feature.text(row) for row in ids[:, 0].tolist()], int((ids[:, 0] != 0).sum()) + len(ids), seconds


def nets(
    given: Pairs, names: Sequence[str], chosen: argparse.Namespace, folder: Path
) -> tuple[list[dict[str, Any]], dict[str, Trained]]:
    """Records of the cheap baselines and of nets, greedy and with beams."""
    truth = given.written["test"]
    records = [
        {"set": given.name, "system": "copy", **bleu(given.read["test"], truth)},
        {"set": given.name, "system": "translation memory", **bleu(memory_of(given), truth)},
    ]
    made: dict[str, Trained] = {}
    for name in names:
        trained = Trained(given, name, seconds=chosen.seconds, threads=chosen.threads, folder=folder)
        made[name] = trained
        for how in ({"beam": 1}, {"beam": 5}, {"beam": 5, "coverage": 0.2}):
            said, _, _ = trained.said(**how)
            word = (
                "greedy"
                if how["beam"] == 1
                else f"beam {how['beam']}" + (", coverage 0.2" if "coverage" in how else "")
            )
            records.append(
                {
                    "set": given.name,
                    "system": f"{name}, {word}",
                    **bleu(said, truth),
                    "log_loss": trained.log_loss,
                    "parameters": trained.parameters,
                    "cpu_seconds": trained.cpu_seconds,
                    "curve": [(round(point.work), point.loss) for point in trained.curve],
                    "sample": list(zip(given.read["test"], said, truth, strict=True))[:3],
                }
            )
            print(records[-1]["system"], f"BLEU {records[-1]['bleu']:.2f} chrF {records[-1]['chrf']:.2f}", flush=True)
    return records, made


def throughput(trained: Trained, chosen: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Target tokens per CPU-second, the same weights here and in CTranslate2."""
    import torch

    torch.set_num_threads(1)
    truth = trained.given.written["test"]
    records = []
    for integers in (False, True):
        for beam in (1, 4):
            trained.said(beam=beam, integers=integers, most=5)  # warm
            said, tokens, seconds = trained.said(beam=beam, integers=integers)
            kind = "int8" if integers else "float32"
            records.append(_speed(f"Polymath {kind}", beam, tokens / seconds, said, truth))
    feature, port = trained.problem.outputs[0], trained.path.ports
    texts = trained.inputs[next(name for name in port if not name.startswith("answer/"))]
    weights = {}
    for gene in trained.path.genes:
        side = {"embedding": "table", "transformer": "reader", "transformer_decoder": "writer"}[gene.layer.kind]
        weights |= {f"{side}/{name}": array for name, array in (trained.module.weights(gene.name) or {}).items()}
    numpy.savez(folder / "weights.npz", **weights)
    heads = next(gene.layer.heads for gene in trained.path.genes if gene.layer.kind == "transformer")
    job = {
        "heads": heads,
        "end": feature.end,
        "most": feature.answer.size[0] + 10,
        "batch_tokens": 2_048,
        "texts": [[int(i) for i in row if i] for row in texts],
        "runs": [{"beam": beam, "type": kind} for kind in ("float32", "int8") for beam in (1, 4)],
    }
    (folder / "job.json").write_text(json.dumps(job))
    words = [common.peer_python("ctranslate2", cache=chosen.cache), str(common.HERE / "systems" / "ctranslate.py")]
    surroundings = {**common.environment(), "OMP_NUM_THREADS": "1"}
    subprocess.run([*words, "weights.npz", "job.json", "answer.json"], cwd=folder, env=surroundings, check=True)
    for run in json.loads((folder / "answer.json").read_text()):
        said = [feature.text(ids) for ids in run["ids"]]
        tokens = sum(len(ids) + 1 for ids in run["ids"])
        records.append(_speed(f"CTranslate2 {run['type']}", run["beam"], tokens / run["cpu_seconds"], said, truth))
    return records


def _speed(system: str, beam: int, rate: float, said: Sequence[str], truth: Sequence[str]) -> dict[str, Any]:
    print(f"{system} beam {beam}: {rate:,.0f} tokens/s", flush=True)
    return {"set": "throughput", "system": system, "beam": beam, "tokens_per_second": rate, **bleu(said, truth)}


def searched(given: Pairs, chosen: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """The whole of `polymath learn`, as a user runs it, with as much CPU time on all cores."""
    for part in ("train", "validation", "test"):
        with (folder / f"{part}.tsv").open("w", encoding="utf-8", newline="") as stream:
            rows = csv.writer(stream, delimiter="\t", lineterminator="\n")
            rows.writerows([(given.source, given.target), *zip(given.read[part], given.written[part], strict=True)])
    budget = f"{max(chosen.seconds / common.cores(), 20):.0f}s"
    words = [*common.polymath_command(), "learn", "train.tsv", "--validation", "validation.tsv", "--test", "test.tsv"]
    words += ["--target", given.target, "--name", "translation", "--budget", budget, "--store", "store", "--json"]
    done = subprocess.run(words, cwd=folder, env=common.environment(), capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    evaluate = [*common.polymath_command(), "evaluate", "translation", "test.tsv", "--store", "store", "--json"]
    scores = json.loads(
        subprocess.run(
            evaluate, cwd=folder, env=common.environment(), capture_output=True, text=True, check=True
        ).stdout
    )["scores"]
    return [{"set": given.name, "system": f"polymath learn ({budget})", **scores, "parameters": told.get("parameters")}]


def body(records: Sequence[dict[str, Any]]) -> list[str]:
    """The tables and what was asked."""
    lines: list[str] = []
    by = {(one["set"], one["system"], one.get("beam")): one for one in records}
    for name in ("multi30k", "enja", "documentation"):
        rows = [
            [
                one["system"],
                f"{one['bleu']:.2f}",
                f"{one['chrf']:.2f}",
                f"{one['log_loss']:.3f}" if one.get("log_loss") else "",
                f"{one['parameters'] / 1e6:.1f} M" if one.get("parameters") else "",
                f"{one['cpu_seconds']:.0f}" if one.get("cpu_seconds") else "",
            ]
            for one in records
            if one["set"] == name
        ]
        if rows:
            header = ("system", "BLEU", "chrF", "validation log loss", "parameters", "CPU-seconds")
            lines += [f"## {name}", "", *reporting.table(header, rows)]
    rows = [
        [one["system"], str(one["beam"]), f"{one['tokens_per_second']:,.0f}", f"{one['bleu']:.2f}"]
        for one in records
        if one["set"] == "throughput"
    ]
    if rows:
        header = ("system", "beam", "target tokens per CPU-second", "BLEU")
        lines += ["## Throughput, one core, the same weights", "", *reporting.table(header, rows)]
    return [*lines, "## Asked and got", "", *_asked(by), ""]


def _asked(by: dict[tuple[str, str, int | None], dict[str, Any]]) -> list[str]:
    def got(part: str, system: str, key: str = "bleu", beam: int | None = None) -> float | None:
        found = by.get((part, system, beam))
        return None if found is None else float(found[key])

    def line(claim: str, value: float | None, must: float) -> list[str]:
        return [] if value is None else [f"- {claim}: {value:.2f}: {reporting.verdict(value >= must)}"]

    def less(a: float | None, b: float | None, *, ratio: bool = False) -> float | None:
        return None if a is None or b is None else a / b if ratio else a - b

    transformer, stacked = "Transformer, beam 5", "stacked LSTMs, attention, beam 5"
    lines = line("Multi30k, Transformer, BLEU >= 38", got("multi30k", transformer), 38.0)
    lines += line("Multi30k, stacked LSTMs with attention, BLEU >= 35", got("multi30k", stacked), 35.0)
    above = less(got("multi30k", transformer), got("multi30k", "Transformer, greedy"))
    lines += line("beam 5 above greedy by >= 0.7", above, 0.7)
    above = less(got("enja", stacked), got("enja", "stacked LSTMs, no attention, beam 5"))
    lines += line("en-ja, attention above none by >= 5 BLEU", above, 5.0)
    written = {net: got("documentation", f"{net}, beam 5") or 0.0 for net in NETS}
    best = max(written, key=lambda net: written[net])
    for cheap in ("copy", "translation memory"):
        above = less(got("documentation", f"{best}, beam 5"), got("documentation", cheap))
        lines += line(f"documentation, {best} (the best net), BLEU above that of {cheap} by >= 0.01", above, 0.01)
    for beam in (1, 4):
        ours = got("throughput", "Polymath float32", "tokens_per_second", beam)
        theirs = got("throughput", "CTranslate2 float32", "tokens_per_second", beam)
        integers = got("throughput", "Polymath int8", "tokens_per_second", beam)
        lines += line(f"beam {beam}: of CTranslate2's float32 speed >= 0.5", less(ours, theirs, ratio=True), 0.5)
        lines += line(f"beam {beam}: int8 times our float32 >= 1.5", less(integers, ours, ratio=True), 1.5)
        lost = less(
            got("throughput", "Polymath int8", "bleu", beam), got("throughput", "Polymath float32", "bleu", beam)
        )
        lines += line(f"beam {beam}: int8 loses at most 0.3 BLEU (negative is a loss)", lost, -0.3)
    return lines


def options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="3,000 pairs, 20 s of training each: does it run?")
    made.add_argument("--only", nargs="+", choices=PARTS, help="only these parts")
    made.add_argument("--nets", nargs="+", choices=NETS, default=USUAL, help="only these nets")
    made.add_argument("--hours", type=float, default=2.0, help="CPU-hours of each training (default: %(default)s)")
    made.add_argument("--threads", type=int, default=1, help="of each training (default: %(default)s)")
    made.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE, help="environments (default: %(default)s)")
    chosen = made.parse_args()
    chosen.only = tuple(chosen.only or PARTS)
    chosen.seconds = QUICK_SECONDS if chosen.quick else 3600 * chosen.hours / chosen.threads
    chosen.cache = chosen.cache.expanduser().resolve()
    return chosen


def main() -> None:
    chosen = options()
    if not (SHARED / "multi30k").exists():
        raise SystemExit(f"{SHARED} is not there: this benchmark needs Multi30k and small_parallel_enja")
    os.environ["OMP_NUM_THREADS"] = str(chosen.threads)
    sys.path.insert(0, str(common.ROOT / "src"))
    folder = chosen.cache / "runs" / f"translation{'-quick' if chosen.quick else ''}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    records: list[dict[str, Any]] = []
    if {"multi30k", "throughput"} & set(chosen.only):
        names = [name for name in chosen.nets if "no " not in name]
        names = names if "multi30k" in chosen.only else ["Transformer"]
        more, made = nets(pairs("multi30k", quick=chosen.quick), names, chosen, folder)
        records += more
        if "throughput" in chosen.only:
            records += throughput(made["Transformer"], chosen, folder)
    if "enja" in chosen.only:
        records += nets(
            pairs("enja", quick=chosen.quick), [name for name in chosen.nets if "LSTM" in name], chosen, folder
        )[0]
    if "documentation" in chosen.only:
        names = [name for name in chosen.nets if "no " not in name]
        records += nets(pairs("documentation", quick=chosen.quick, cache=chosen.cache), names, chosen, folder)[0]
    if "search" in chosen.only:
        records += searched(pairs("multi30k", quick=chosen.quick), chosen, folder)
    keep(records, chosen)
    file = reporting.page(
        "translation",
        body(kept(chosen)),
        title="Translation",
        about="Sentences from sentences: quality in a given time of one CPU core, and speed with the same weights.",
        told=[f"{chosen.seconds:.0f} s of training each, {chosen.threads} thread(s); parts: {', '.join(chosen.only)}"],
        quick=chosen.quick,
    )
    shutil.rmtree(folder)
    print(f"report: {file}")


def kept(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """The last record of each system, of this run or an earlier one."""
    file = common.HERE / "results" / f"translation{'-quick' if chosen.quick else ''}.jsonl"
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return list({(one["set"], one["system"], one.get("beam")): one for one in records}.values())


def keep(records: Sequence[dict[str, Any]], chosen: argparse.Namespace) -> None:
    """Add the records to the results."""
    file = common.HERE / "results" / f"translation{'-quick' if chosen.quick else ''}.jsonl"
    about = {"when": common.now(), "commit": common.commit(), "cores": common.cores(), "seconds": chosen.seconds}
    with file.open("a", encoding="utf-8") as stream:
        for record in records:
            stream.write(json.dumps({**record, **about}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
