"""Absorb: features from rows without a target become parents that later tasks build upon, where that pays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from polymath import BadInput, Polymath
from polymath.importing import ABSORBED, Imported, imports
from polymath.learning import Silent, Wishes
from polymath.learning.absorb import absorb
from polymath.learning.parents import parents
from polymath.learning.translating import in_known_words, recutting
from polymath.model.build import build
from polymath.model.layers.recoded import Recoded
from polymath.model.path import Path as Genes
from polymath.model.prefix import END
from polymath.problem import Category, Problem
from polymath.problem.features import Number, Text
from polymath.problem.sources import read
from polymath.problem.subwords import learn as learn_words
from polymath.store import Store

CHEAP = {"engine": "inline", "lanes": 1, "space": "heads"}


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def digits(rows: np.ndarray, *, labels: bool = True) -> pa.Table:
    data = load_digits()
    column = pa.FixedShapeTensorArray.from_numpy_ndarray((data.images[rows] * 15.9).astype(np.uint8))
    return pa.table({"picture": column, **({"digit": [f"d{n}" for n in data.target[rows]]} if labels else {})})


WORDS = {
    "sea": ["boat", "sail", "wave", "harbour", "fish", "tide", "anchor", "captain"],
    "kitchen": ["pan", "knife", "oven", "butter", "flour", "spoon", "recipe", "salt"],
    "garden": ["rose", "spade", "seed", "hedge", "lawn", "soil", "worm", "blossom"],
}


def texts(number: int, *, seed: int) -> pa.Table:
    """Texts of three kinds; each holds few of the words of its kind."""
    random = np.random.default_rng(seed)
    kinds = random.choice(list(WORDS), number)
    common = ["the", "a", "of", "on", "with", "near", "old", "new", "we", "saw"]
    said = [
        " ".join([*random.choice(WORDS[kind], 3), *random.choice(common, 6)][n] for n in random.permutation(9))
        for kind in kinds
    ]
    return pa.table({"text": said, "kind": kinds.tolist()})


def take(data: object, store: Store, cache: Path, **more: object) -> Imported:
    wishes = Wishes(name=str(more.pop("name", "it")), budget_seconds=60, cache=str(cache), **more)  # type: ignore[arg-type]
    return absorb(data, store=store, wishes=wishes, listener=Silent())


def test_pictures_and_a_task_of_few(tmp_path: Path) -> None:
    """What was absorbed is a parent like any other, and no knowledge from outside."""
    order = np.random.default_rng(0).permutation(1797)
    cache = tmp_path / "cache"
    with Polymath(tmp_path / "store") as store:
        found = take(digits(order[:900], labels=False), store.store, cache, name="digits")
        assert (found.head, found.rows) == (ABSORBED + "digits", 900)
        again = take(digits(order[:900], labels=False), store.store, cache, name="digits")
        assert again == found, "same rows, same features"
        few = np.concatenate([order[900:][load_digits().target[order[900:]] == label][:3] for label in range(10)])
        for build_on in (True, False):
            wishes = {**CHEAP, "cache": str(cache), "work": 2, "build_on": build_on}
            task = store.learn(digits(few), target="digit", name=f"few {build_on}", **wishes)
            tried = [str(row["what"]) for row in task.leaderboard() if row["state"] != "failed"]
            assert any(one.startswith(f"prototypes on {found.head}") for one in tried) == build_on
            assert (found.head in task.record.built_on) == build_on
            assert task.record.imported == (), "nothing comes from outside"
        assert store.task("few True").evaluate(digits(order[1200:]))["scores"]["accuracy"] > 0.6  # type: ignore[index,call-overload,operator]
        union = store.union()
        assert union.share(found.head).built_upon_by == ("few True",)
        assert found.head not in union.tasks
        assert union.share("few True").imported == ()
        assert store.map(tmp_path / "map.html").stat().st_size > 1000


def test_texts_and_few_of_them_in_the_words_that_are_known(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with Polymath(tmp_path / "store") as store:
        found = take(texts(900, seed=1).drop_columns(["kind"]), store.store, cache, name="talk")
        (feature,) = found.features
        assert feature["type"] == "text"
        given = texts(12, seed=2)
        wishes = {**CHEAP, "cache": str(cache), "work": 0.05}
        task = store.learn(given, target="kind", name="few", **wishes)
        (mine,) = Problem.model_validate(task.record.problem).inputs
        assert isinstance(mine, Text)
        assert mine.subwords is not None
        assert mine.subwords.size == next(iter(found.ports.values())).vocabulary
        assert any(f"on {found.head}" in str(row["what"]) and row["state"] != "failed" for row in task.leaderboard())
        assert task.evaluate(texts(300, seed=3))["scores"]["accuracy"] > 0.55  # type: ignore[index,call-overload,operator]
        alone = store.learn(given, target="kind", name="alone", build_on=False, **wishes)
        (own,) = Problem.model_validate(alone.record.problem).inputs
        assert isinstance(own, Text)
        assert own.subwords != mine.subwords


def test_words_of_another_language_keep_their_own(tmp_path: Path) -> None:
    rows = read(pa.table({"text": ["Добрый вечер всем"] * 20, "kind": ["a", "b"] * 10}), cache=tmp_path / "cache")
    raw = Problem(name="t", inputs=(Text(name="text"),), outputs=(Category(name="kind"),))
    with Store.open(tmp_path / "store") as store:
        assert in_known_words(raw, rows, store) == raw
        take(texts(300, seed=1), store, tmp_path / "cache")
        assert in_known_words(raw, rows, store) == raw


def test_texts_with_a_vocabulary_of_their_own_are_cut_anew(tmp_path: Path) -> None:
    """A path reads the ids of another vocabulary through a gene that cuts them anew."""
    said = [str(text) for text in texts(200, seed=4)["text"].to_pylist()]
    with Store.open(tmp_path / "store") as store:
        found = take(texts(900, seed=1), store, tmp_path / "cache")
        own = Text(name="text").measure(pa.chunked_array([said]))
        problem = Problem(name="t", inputs=(own,), outputs=(Category(name="kind", classes=("a", "b")),))
        (parent,) = parents(store, problem, but="t")
        assert [gene.layer.kind for gene in parent.path.genes][:2] == ["recut", "embedding"]  # type: ignore[attr-defined]
        module = build(parent.path, problem.ports, fetch=store.get_tensors).eval()
        import torch

        ids = own.encode(pa.chunked_array([said])).array.astype(np.int64)
        through = module({"text": torch.from_numpy(ids)})[END]
        mine = Text.model_validate(found.features[0])
        direct = build(Genes.model_validate(found.path), found.ports, fetch=store.get_tensors).eval()
        ids = mine.encode(pa.chunked_array([said])).array.astype(np.int64)
        expected = direct({"text": torch.from_numpy(ids)})[END]
        alike = torch.nn.functional.cosine_similarity(through, expected).mean()
        assert alike > 0.8, "nearly what the texts give when they are cut by the vocabulary itself"


def test_recutting_pieces() -> None:
    said = [str(text) for text in texts(400, seed=5)["text"].to_pylist()]
    given, wanted = learn_words(said[:40], vocabulary=300, lower=False), learn_words(said, vocabulary=400, lower=True)
    table = recutting(given, wanted)
    assert table.shape[0] == given.size
    assert not table[0].any()
    for place, piece in enumerate(given.pieces[:50]):
        back = "".join(wanted.pieces[one - 2] for one in table[place + 2] if one > 1)
        assert piece.lower().startswith(back) or 1 in table[place + 2]


def test_a_table_is_found_again_by_the_names_of_its_columns(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    hidden = random.standard_normal((600, 2))
    x = hidden @ random.standard_normal((2, 6)) + 0.1 * random.standard_normal((600, 6))
    kinds = np.where(hidden[:, 0] > 0, "up", "down")
    colour = np.where(hidden[:, 1] > 0, "red", "blue")
    table = pa.table({**{f"x{n}": x[:, n] for n in range(6)}, "colour": colour.tolist(), "kind": kinds.tolist()})
    cache = tmp_path / "cache"
    with Polymath(tmp_path / "store") as store:
        found = take(table.drop_columns(["kind"]), store.store, cache, ignore=("x0",))
        assert [feature["name"] for feature in found.features] == ["x1", "x2", "x3", "x4", "x5", "colour"]
        few = table.slice(0, 24).select(["colour", "x5", "x1", "x3", "x2", "kind"])  # another order, two columns less
        wishes = {**CHEAP, "cache": str(cache), "work": 0.1}
        task = store.learn(few, target="kind", name="few", **wishes)
        assert any(f"on {found.head}" in str(row["what"]) and row["state"] != "failed" for row in task.leaderboard())
        other = pa.table({"a": [1.0, 2.0] * 20, "x1": [1.0, 3.0] * 20, "kind": ["up", "down"] * 20})
        alone = store.learn(other, target="kind", name="other", **wishes)
        assert not any("absorbed" in str(row["what"]) for row in alone.leaderboard()), "one column of six is too few"


def test_rows_in_the_terms_of_another_table() -> None:
    import torch

    mine = (Number(name="x", mean=10.0, deviation=2.0), Category(name="c", classes=("a", "b", "z")))
    theirs = (Category(name="c", classes=("b", "a", "q")), Number(name="x", mean=0.0, deviation=1.0))
    problem = Problem(name="t", inputs=theirs, outputs=(Number(name="y", mean=0.0, deviation=1.0),))
    from polymath.learning.translating import _columns

    stored: dict[str, dict[str, np.ndarray]] = {}

    def put(weights: dict[str, np.ndarray]) -> str:
        stored["table"] = weights
        return "table"

    gene = _columns(mine, "row", problem, put)  # type: ignore[arg-type]
    assert gene is not None
    assert isinstance(gene.layer, Recoded)
    module = gene.layer.build(problem.ports["row"])
    module.load_state_dict({name: torch.from_numpy(array) for name, array in stored["table"].items()})
    row = torch.tensor([[1.0, 14.0], [2.0, float("nan")], [3.0, 8.0], [0.0, 10.0]])
    assert module(row).tolist() == [[2.0, 2.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 0.0]]


def test_classes_are_found_however_they_are_written_and_rare_ones_stay_rare() -> None:
    mine = (Category(name="c", classes=(1, 2), rare=True),)
    theirs = (Category(name="c", classes=("2", "3"), rare=True),)
    problem = Problem(name="t", inputs=theirs, outputs=(Number(name="y", mean=0.0, deviation=1.0),))
    from polymath.learning.translating import _columns

    stored: list[np.ndarray] = []
    assert _columns(mine, "row", problem, lambda weights: stored.append(weights["table"]) or "table") is not None
    assert stored[0].tolist() == [[0, 2, 3, 3]]


# Stopping, and what cannot be used ------------------------------------------------------------------------------------
def test_out_of_time_it_keeps_what_it_saw(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        wishes = Wishes(name="late", budget_seconds=1e-3, cache=str(tmp_path / "cache"))
        found = absorb(digits(np.arange(1797), labels=False), store=store, wishes=wishes, listener=Silent())
        assert 64 <= found.rows <= 512
        assert [one.head for one in imports(store)] == ["absorbed/late"]


@pytest.mark.slow
def test_killed_it_leaves_nothing_behind(tmp_path: Path) -> None:
    """SIGKILL before the end: the store is whole and holds nothing of that name."""
    pictures = np.random.default_rng(0).integers(0, 256, (300, 28, 28), dtype=np.uint8)
    np.save(tmp_path / "pictures.npy", pictures)
    script = (
        "import sys, numpy as np; from polymath.learning import Silent, Wishes; from polymath.store import Store\n"
        "from polymath.learning import unlabelled; from polymath.learning.absorb import absorb\n"
        "def slow(*args, **more):\n    print('late', flush=True); import time; time.sleep(60)\n"
        "unlabelled.whitening = slow\n"
        "import pyarrow as pa; x = np.load(sys.argv[1] + '/pictures.npy')\n"
        "t = pa.table({'p': pa.FixedShapeTensorArray.from_numpy_ndarray(x)})\n"
        "w = Wishes(name='x', budget_seconds=60, cache=sys.argv[1] + '/cache')\n"
        "absorb(t, store=Store.open(sys.argv[1] + '/store'), wishes=w, listener=Silent())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "late\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with Store.open(tmp_path / "store") as store:
        assert list(imports(store)) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pa.table({"x": [1.0, 2.0]}), "2 rows are too few"),
        (pa.table({"id": [f"{n:012x}" for n in range(100)]}), "nothing to learn features from"),
        ("nowhere.csv", "nowhere.csv"),
    ],
)
def test_bad_input_is_one_line(data: object, words: str, tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        with pytest.raises(BadInput, match=words):
            take(data, store, tmp_path / "cache")
        with pytest.raises(BadInput, match="column"):
            take(pa.table({"x": [1.0] * 100}), store, tmp_path / "cache", ignore=("z",))
        with pytest.raises(BadInput, match="reply cannot be an input"):
            take(pa.table({"x": ["yes", "no"] * 50}), store, tmp_path / "cache", types={"x": "reply"})
        assert list(imports(store)) == []


def test_a_folder_of_pictures_some_of_which_cannot_be_read(tmp_path: Path) -> None:
    heard, data = Heard(), load_digits()
    (tmp_path / "flat").mkdir()
    for number in range(80):
        picture = (data.images[number] * 15.9).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / "flat" / f"{number}.png")
    (tmp_path / "flat" / "bad.png").write_bytes(b"no picture")
    with Store.open(tmp_path / "store") as store:
        wishes = Wishes(budget_seconds=60, cache=str(tmp_path / "cache"))
        found = absorb(str(tmp_path / "flat"), store=store, wishes=wishes, listener=heard)
    assert (found.name, found.rows) == ("flat", 80)
    assert any("1 cannot be read" in line for line in heard.lines)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from polymath.app import absorbing

    monkeypatch.setenv("HOME", str(tmp_path))
    texts(200, seed=1).drop_columns(["kind"])
    file = tmp_path / "talk.csv"
    file.write_text("text\n" + "\n".join(str(one) for one in texts(200, seed=1)["text"].to_pylist()) + "\n")
    given = {"name": None, "budget": "60s", "types": (), "ignore": (), "memory": None, "store": tmp_path / "store"}
    absorbing.absorb(str(file), begin=time.monotonic(), as_json=True, **given)  # type: ignore[arg-type]
    told = json.loads(capsys.readouterr().out)
    assert told["name"] == "absorbed/talk"
    assert told["rows"] == 200
    absorbing.absorb(str(file), begin=time.monotonic(), as_json=False, **given)  # type: ignore[arg-type]
    assert "Later tasks may build upon it" in capsys.readouterr().err
