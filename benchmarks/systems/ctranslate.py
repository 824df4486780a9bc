"""CTranslate2 answers with the weights of a Transformer that Polymath trained. Runs in CTranslate2's own environment.

    python ctranslate.py WEIGHTS.npz JOB.json ANSWER.json

JOB: heads, end, texts (lists of ids), most, runs: [{beam, type}]. ANSWER: for each run seconds and ids.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ctranslate2
import numpy
from ctranslate2.specs import transformer_spec


def put(spec: Any, weights: dict[str, numpy.ndarray], name: str) -> None:
    spec.weight = weights[f"{name}.weight"]
    if f"{name}.bias" in weights:
        spec.bias = weights[f"{name}.bias"]


def norm(spec: Any, weights: dict[str, numpy.ndarray], name: str) -> None:
    spec.gamma, spec.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]


def specified(weights: dict[str, numpy.ndarray], *, heads: int) -> transformer_spec.TransformerSpec:
    """Our layers in the words of CTranslate2: norm before each part, rotary positions in halves, ReLU."""
    depth = {
        side: 1 + max(int(k.split(".")[1]) for k in weights if k.startswith(f"{side}/blocks."))
        for side in ("reader", "writer")
    }
    settings = {"num_heads": heads, "pre_norm": True, "rotary_dim": 0, "rotary_interleave": False}
    encoder = transformer_spec.TransformerEncoderSpec(depth["reader"], **settings)
    decoder = transformer_spec.TransformerDecoderSpec(depth["writer"], **settings)
    width = weights["table/table.weight"].shape[1]
    encoder.scale_embeddings = False
    encoder.embeddings[0].weight = weights["table/table.weight"]
    encoder.position_encodings.encodings = numpy.zeros((1024, width), numpy.float32)
    decoder.scale_embeddings = True
    decoder.embeddings.weight = weights["writer/table.weight"]
    decoder.projection.weight, decoder.projection.bias = (
        weights["writer/table.weight"].copy(),
        weights["writer/table.bias"],
    )
    for side, spec in (("reader", encoder), ("writer", decoder)):
        norm(spec.layer_norm, weights, f"{side}/norm")
        for number, layer in enumerate(spec.layer):
            block = f"{side}/blocks.{number}"
            norm(layer.self_attention.layer_norm, weights, f"{block}.attention_norm")
            put(layer.self_attention.linear[0], weights, f"{block}.query_key_value")
            put(layer.self_attention.linear[1], weights, f"{block}.out")
            norm(layer.ffn.layer_norm, weights, f"{block}.forward_norm")
            put(layer.ffn.linear_0, weights, f"{block}.feed.0")
            put(layer.ffn.linear_1, weights, f"{block}.feed.{2 if side == 'reader' else 3}")
            if side == "writer":
                norm(layer.attention.layer_norm, weights, f"{block}.look_norm")
                put(layer.attention.linear[0], weights, f"{block}.query")
                put(layer.attention.linear[1], weights, f"{block}.key_value")
                put(layer.attention.linear[2], weights, f"{block}.look_out")
    return transformer_spec.TransformerSpec(encoder, decoder)


def main() -> None:
    weights = dict(numpy.load(sys.argv[1]))
    job = json.loads(Path(sys.argv[2]).read_text())
    spec = specified(weights, heads=job["heads"])
    sizes = len(weights["table/table.weight"]), len(weights["writer/table.weight"])
    end = f"t{job['end']}"
    spec.register_source_vocabulary([f"s{i}" for i in range(sizes[0])])
    spec.register_target_vocabulary([f"t{i}" for i in range(sizes[1])])
    spec.config.bos_token = spec.config.eos_token = spec.config.decoder_start_token = end
    spec.config.unk_token = "t1"
    spec.config.add_source_bos = spec.config.add_source_eos = False
    texts = [[f"s{i}" for i in ids] for ids in job["texts"]]
    answers = []
    with tempfile.TemporaryDirectory() as folder:
        spec.validate()
        spec.save(folder)
        for run in job["runs"]:
            model = ctranslate2.Translator(
                folder, device="cpu", compute_type=run["type"], inter_threads=1, intra_threads=1
            )
            how = {
                "beam_size": run["beam"],
                "max_batch_size": job["batch_tokens"],
                "batch_type": "tokens",
                "max_decoding_length": job["most"],
                "length_penalty": 1,
                "suppress_sequences": [["t0"], ["t1"]],
            }
            model.translate_batch(texts[:32], **how)
            began, used = time.perf_counter(), time.process_time()
            found = model.translate_batch(texts, **how)
            seconds, cpu = time.perf_counter() - began, time.process_time() - used
            ids = [[int(token[1:]) for token in one.hypotheses[0] if token != end] for one in found]
            answers.append({**run, "seconds": seconds, "cpu_seconds": cpu, "ids": ids})
    Path(sys.argv[3]).write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
