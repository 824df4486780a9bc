"""Text encoders as they are published: a folder with `config.json`, `model.safetensors` and `vocab.txt`.

Such a folder says itself what its layers are, so `polymath import NAME FOLDER` needs no description. What is read is
BERT (Devlin et al. 2018, arXiv 1810.04805) whose tokens are averaged (Reimers and Gurevych 2019, arXiv 1908.10084).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from ..model.path import Path
from ..problem.form import tokens
from ..spec import BadInput, loads
from .described import Described, content, gives_vector

TENSORS, WORDS, CONFIG = "model.safetensors", "vocab.txt", "config.json"
POOLING, LENGTH, STEPS, TOKENS, LEARNED = (
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "modules.json",
    "tokenizer_config.json",
    "data_config.json",
)
"""Other files of the folder, each of which may be missing."""
ONLY = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
"""What must be said in CONFIG, or nothing else."""


@dataclass(frozen=True)
class Published:
    """A folder's description, and its two files."""

    described: Described
    tensors: File
    words: File


def published(folder: File) -> Published:
    """The encoder in a folder. Nothing in it is executed.

    Raises BadInput naming the file and what of it is not understood.
    """
    config = _json(folder / CONFIG)
    for name, value in ONLY.items():
        if config.get(name, value) != value:
            raise _other(folder / CONFIG, name, config[name], f"only {value!r} is known")
    pooling = _json(folder / POOLING, missing={"pooling_mode_mean_tokens": True})
    for name in ("pooling_mode_mean_tokens", *(name for name in pooling if name.startswith("pooling_mode"))):
        if bool(pooling.get(name)) != (name == "pooling_mode_mean_tokens"):
            raise _other(folder / POOLING, name, pooling.get(name), "only the mean of the tokens is known")
    told = _json(folder / TOKENS, missing={})
    kinds = content(folder / WORDS).decode(errors="replace").splitlines()
    try:
        described = _described(
            config,
            length=int(_json(folder / LENGTH, missing={}).get("max_seq_length") or config["max_position_embeddings"]),
            ends=[kinds.index(told.get(name, word)) for name, word in _MARKS.items()],
            unit=any("Normalize" in str(step.get("type")) for step in _list(folder / STEPS)),
        )
        gives_vector(described.path, described.ports)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"is not the description of an encoder: {error}", file=folder / CONFIG, remedy=_REMEDY
        ) from error
    rows = sum(int(one.get("lines", 0)) for one in _list(folder / LEARNED))
    described = described.replace(lower=bool(told.get("do_lower_case", True)), rows=rows, source=str(folder))
    return Published(described, folder / TENSORS, folder / WORDS)


_MARKS = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
_REMEDY = "Describe its layers yourself: --layers FILE.json; see docs/importing.md."


def _described(config: dict[str, Any], *, length: int, ends: list[int], unit: bool) -> Described:
    """In our layers. Genes are called as the file calls what they hold, so that tensors are found by their names."""
    unknown, first, last = ends
    shared = {"epsilon": config.get("layer_norm_eps", 1e-12), "dropout": config.get("hidden_dropout_prob", 0.1)}
    embeddings = {
        "kind": "bert_embeddings",
        "width": config["hidden_size"],
        **{"first": first, "last": last, "unknown": unknown},
        "length": min(length, config["max_position_embeddings"]),
        "places": config["max_position_embeddings"],
        "kinds": config["type_vocab_size"],
        **shared,
    }
    block = {
        "kind": "bert_block",
        "heads": config["num_attention_heads"],
        "hidden": config["intermediate_size"],
        **shared,
    }
    names = ["embeddings", *(f"encoder.layer.{place}" for place in range(config["num_hidden_layers"])), "pooled"]
    layers = [embeddings, *[block] * config["num_hidden_layers"], {"kind": "pool_tokens", "how": "mean"}]
    if unit:
        names, layers = [*names, "unit"], [*layers, {"kind": "unit"}]
    genes = [
        {"name": name, "layer": layer, "inputs": [before]}
        for name, layer, before in zip(names, layers, ["in:text", *names], strict=False)
    ]
    return Described(
        ports={"text": tokens(embeddings["length"] - 2, vocabulary=config["vocab_size"])},
        path=Path.model_validate({"genes": genes, "outputs": {"features": names[-1]}}),
        # It has learned to tell its words apart, whatever else.
        classes=config["vocab_size"],
    )


def _json(file: File, *, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    """An object of JSON, or `missing` where there is no such file."""
    if missing is not None and not file.exists():
        return missing
    found = _loaded(file)
    if not isinstance(found, dict):
        raise BadInput("is no JSON object", file=file, remedy=_REMEDY)
    return found


def _list(file: File) -> list[dict[str, Any]]:
    """The objects of a list of JSON; none where there is no such file."""
    found = _loaded(file) if file.exists() else []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _loaded(file: File) -> Any:
    try:
        return loads(content(file).decode())
    except ValueError as error:
        raise error if isinstance(error, BadInput) else BadInput(f"is no JSON: {error}", file=file) from error


def _other(file: File, name: str, value: object, why: str) -> BadInput:
    return BadInput(f"{name} is {value!r}, and {why}", file=file, remedy=_REMEDY)
