"""Letters of texts, spelled out of what a vocabulary has cut, counted within words under a linear head."""

from __future__ import annotations

from pathlib import Path as Folder

import numpy as np
import pyarrow as pa
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from polymath import Polymath
from polymath.model.build import build
from polymath.model.layers import parse_layer
from polymath.model.layers.ngrams import bits, keys
from polymath.model.path import Path
from polymath.model.probes import Material, NgramsProbe, ngrams
from polymath.problem import Category, Problem, Split, Text
from polymath.problem.form import tokens
from polymath.problem.subwords import BLANK, FIRST, LONGEST, MOST_LETTERS, UNKNOWN, Subwords, learn
from polymath.search.spaces.designs import methods
from polymath.spec import canonical, sha256
from polymath.train.job import Facts

STEMS = ("walk", "sing", "jump", "paint", "read", "climb", "laugh", "drink", "sail", "count", "melt", "burn", "fold")


ENDINGS = ("ingly", "ament", "osity", "ebook", "ufact", "ywise", "aholic", "eteria")


def sentences(rows: int, *, seed: int, classes: int = 2) -> tuple[list[str], np.ndarray]:
    """Words that nobody has seen before, whose endings alone tell classes apart."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    letters = np.array(list("bcdfglmnprst"))
    stems = ["".join(random.choice(letters, 3)) + str(random.choice(STEMS)) for _ in range(rows)]
    return [f"they {stem}{ENDINGS[label]} now" for stem, label in zip(stems, labels, strict=True)], labels


def spelled_out(texts: list[str], labels: np.ndarray, known: Subwords, *, held_out: int) -> Material:
    """The last rows validate."""
    kept: dict[str, dict[str, np.ndarray]] = {}

    def put(tensors: dict[str, np.ndarray]) -> str:
        address = sha256(canonical({k: sha256(np.ascontiguousarray(v).tobytes()) for k, v in tensors.items()}).encode())
        kept[address] = tensors
        return address

    ids = known.encode_all(texts, most=40)
    rows = np.arange(len(texts))
    return Material(
        ports={"text": tokens(40, vocabulary=known.size)},
        inputs={"text": ids},
        outputs={"kind": Category(name="kind", classes=("no", "yes"))},
        targets={"kind": labels},
        training=rows[: len(rows) - held_out],
        validation=rows[len(rows) - held_out :],
        seed=0,
        threads=1,
        put=put,
        fetch=kept.__getitem__,
        vocabularies={"text": known},
    )


def test_every_id_is_spelled_as_its_piece() -> None:
    known = learn(sentences(200, seed=0)[0], vocabulary=300, lower=True)
    table = known.spelled()
    assert table.shape == (known.size, max(map(len, known.pieces))) and table.dtype == np.int32
    letter = {BLANK: FIRST}
    for piece, ids in zip(known.pieces, table[FIRST:], strict=True):
        for one, place in zip(piece, ids[ids > 0], strict=True):
            assert letter.setdefault(one, place) == place
    assert len(set(letter.values())) == len(letter) and letter[BLANK] == FIRST
    assert table[UNKNOWN].tolist() == [UNKNOWN, *[0] * (table.shape[1] - 1)] and not table[0].any()


def test_more_letters_than_there_are_ids_share_them_but_never_the_blank() -> None:
    pieces = (*map(chr, range(0x4E00, 0x4E00 + MOST_LETTERS + 500)), BLANK + "a" * 2 * LONGEST)
    table = Subwords(pieces=pieces, scores=(-1.0,) * len(pieces)).spelled()
    assert table.max() == MOST_LETTERS - 1 and table.shape[1] == LONGEST
    assert (table[FIRST:-1, 0] > FIRST).all() and table[-1, 0] == FIRST


def test_ngrams_begin_and_end_with_a_blank_and_never_cross_one() -> None:
    ids = torch.tensor([[2, 5, 6, 2, 7, 0]])
    found = set(keys(ids, place=0, longest=5, blank=2).flatten().tolist()) - {0}
    one = bits(5)

    def key(*letters: int) -> int:
        return sum(letter << one * place for place, letter in enumerate(reversed(letters)))

    single = {key(2), key(5), key(6), key(7)}
    pairs = {key(2, 5), key(5, 6), key(6, 2), key(2, 7)}
    assert found == single | pairs | {key(2, 5, 6), key(5, 6, 2), key(2, 5, 6, 2)}
    crossing = set(keys(ids, place=0, longest=5).flatten().tolist())
    assert key(6, 2, 7) in crossing


def test_letters_are_counted_as_scikit_learn_counts_them() -> None:
    texts, labels = sentences(60, seed=1)
    known = learn(texts, vocabulary=300, lower=True)
    m, probe = spelled_out([f"{text} ." for text in texts], labels, known, held_out=20), NgramsProbe(letters=True)
    spelling = [ngrams._spelling("text", m)]
    found, rarity = ngrams.vocabulary(probe._entries(["text"], spelling, m, m.training), rows=40, most=10**6)
    ours = ngrams.tf_idf(probe._entries(["text"], spelling, m, m.validation), found, rarity, rows=20)
    assert probe.longest == 2, "the settings of `ngrams`, for letters"
    theirs = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    texts = [known.decode(ids) for ids in m.inputs["text"]]
    theirs.fit([text[:-1] for text in texts[:40]])  # ours has no blank behind the last word, theirs has
    expected = theirs.transform([text[:-1] for text in texts[40:]])
    assert abs((ours @ ours.T).toarray() - (expected @ expected.T).toarray()).max() < 0.05


def test_endings_of_unknown_words_are_learned_from_few_texts() -> None:
    known = learn(["other things altogether, of which nothing is to be learned"] * 30, vocabulary=300, lower=True)
    texts, labels = sentences(120, seed=2)
    known = known.replace(pieces=(*known.pieces, *"abcdefghijklmnopqrstuvwxyz"), scores=(*known.scores, *[-9.0] * 26))
    m = spelled_out(texts, labels, known, held_out=100)
    fitted = NgramsProbe(letters=True, longest=5).fit(m)
    assert fitted.path is not None
    assert [gene.name for gene in fitted.path.genes] == ["letters of text", "n-grams 0"]
    again = Path.model_validate_json(fitted.path.model_dump_json())
    module = build(again, m.ports, fetch=m.fetch).eval()
    asked = torch.from_numpy(m.inputs["text"][m.validation].astype(np.int64))
    with torch.inference_mode():
        answers = module({"text": asked})["kind"]
        alone = module({"text": asked[3:4]})["kind"]
    assert (answers.argmax(1).numpy() == labels[m.validation]).mean() > 0.95
    torch.testing.assert_close(alone, answers[3:4])


def test_what_earlier_releases_wrote_keeps_its_identity() -> None:
    assert "letters" not in NgramsProbe().model_dump() and NgramsProbe(letters=True).model_dump()["letters"]
    layer = {"kind": "ngrams", "width": 2, "longest": 3, "num_ngrams": 30}
    assert parse_layer(layer).model_dump(mode="json") == layer
    assert bits(1) == bits(3) == 20


def test_letters_are_tried_on_texts_that_are_not_too_many() -> None:
    known = learn(sentences(50, seed=0)[0], vocabulary=300, lower=True)
    texts = Problem(
        name="t",
        inputs=(Text(name="text", subwords=known, length=60),),
        outputs=(Category(name="kind", classes=("a", "b")),),
    )

    def tried(problem: Problem, rows: int, seconds: float | None) -> bool:
        facts = Facts(rows=rows, ports=problem.ports, outputs={"kind": 2})
        found = methods(problem, facts, seconds=seconds)
        assert "letters" not in found or found.index("letters") < found.index("path")
        return "letters" in found

    assert tried(texts, 100, 6.0) and tried(texts, 20_000, None) and tried(texts, 10_000, 600.0)
    assert not tried(texts, 20_001, None), "more rows know their words"
    assert not tried(texts, 20_000, 6.0), "they would take all of the time"


def test_one_text_of_each_class_is_answered_by_its_letters_too(tmp_path: Folder) -> None:
    known = pa.table(
        {"text": [f"{one}{ending} and {other}{ending}" for one in STEMS for other in STEMS for ending in ENDINGS]}
    )
    table = pa.table(
        {"text": [f"{stem}{ending}" for stem, ending in zip(STEMS, ENDINGS, strict=False)], "label": ENDINGS}
    )
    asked = [(f"{stem}{ending}", ending) for stem in STEMS[8:] for ending in ENDINGS]
    wishes = {
        "work": 0.05,
        "engine": "inline",
        "lanes": 1,
        "types": {"text": "text"},
        "split": Split(test_fraction=0.0),
    }
    with Polymath(tmp_path / "store") as knowledge:
        knowledge.absorb(known, name="words", budget=5)
        task = knowledge.learn(table, target="label", **wishes)
        assert [member["label"] for member in task.record.members] == ["prototypes on absorbed/words", "letters"]
        answers = task.predict(pa.table({"text": [text for text, _ in asked]}))
    right = np.mean([one["label"]["value"] == ending for one, (_, ending) in zip(answers, asked, strict=True)])
    assert right > 0.8, right
