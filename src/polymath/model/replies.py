"""Paths that learned to bring messages and replies together, made ready to answer from a set of responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional as F

from ..problem.features.base import Feature
from ..problem.features.reply import Reply
from ..problem.problem import Problem
from ..spec import Json
from .build import PathModule, build
from .layers.hashed_ngrams import HashedNgrams
from .layers.pair import Pair
from .layers.part import Part
from .layers.responses import Responses
from .layers.stored import Fetch
from .path import INPUT, Gene, Path

BIASES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Weights of how often a response is said (its log share) that are tried; validation rows choose."""
JUDGED = 2_000
"""Validation rows that choose."""
CLUSTERS, ROUNDS = 400, 8
"""Kinds of responses at most, and steps to find them; Kannan et al. (2016) had 376."""
ALIKE = 0.7
"""Cosine at which two responses say the same."""
BATCH = 512


def gene_of(output: str) -> str:
    """Name of the gene that holds the set of responses of an output."""
    return f"responses.{output}"


def with_responses(
    path: Path,
    problem: Problem,
    feature: Reply,
    judged: tuple[np.ndarray, np.ndarray],
    *,
    fetch: Fetch,
    put: Any,
) -> tuple[Path, dict[str, Json]]:
    """The path with a frozen gene that holds the vectors of the responses, and what `Reply.decode` needs beside it.

    `judged`: what was kept of validation rows [N, 2D], and their targets. `put`: tensors -> their address.
    """
    path = untied(path)
    pair = next(gene for gene in path.genes if gene.name == path.outputs[feature.name])
    assert isinstance(pair.layer, Pair) and pair.weights is not None, "replies come from a pair that was trained"
    message, reply = pair.inputs
    table_RD = _vectors(path, problem, feature, reply, fetch=fetch)
    scale = np.exp(np.minimum(fetch(pair.weights)["log_scale"], np.log(100.0))).astype(np.float32)
    log_share_R = np.log(np.asarray(feature.shares, dtype=np.float32))
    bias_R = _bias_weight(feature, table_RD, log_share_R, judged) * log_share_R
    tensors = {"table_RD": table_RD, "bias_R": bias_R.astype(np.float32), "scale": scale.reshape(1)}
    layer = Responses(width=len(table_RD))
    gene = Gene(name=gene_of(feature.name), layer=layer, inputs=(message,), weights=put(tensors), frozen=True)
    return path.replace(genes=(*path.genes, gene)), {"clusters": clusters(table_RD).tolist()}


def untied(path: Path) -> Path:
    """The path with a table of n-grams for each text, of the same weights, in place of one that reads several.

    It gives the same; but a message can then be read where there is no reply.
    """
    bags = {gene.name: gene for gene in path.genes if isinstance(gene.layer, HashedNgrams) and len(gene.inputs) > 1}
    genes = []
    for gene in path.genes:
        bag = bags.get(gene.inputs[0])
        if bag is not None and isinstance(gene.layer, Part):
            source = bag.inputs[gene.layer.start // bag.layer.width]  # type: ignore[attr-defined]
            gene = bag.replace(name=gene.name, inputs=(source,))
        if gene.name not in bags:
            genes.append(gene)
    return path.replace(genes=tuple(genes))


def _vectors(path: Path, problem: Problem, feature: Reply, reply: str, *, fetch: Fetch) -> np.ndarray:
    """Unit vectors of all responses [R, D], by the part of the path that reads replies."""
    assert not reply.startswith(INPUT), "a reply goes through a gene"
    tower = build(path.giving({feature.name: reply}), problem.all_ports, fetch=fetch).eval()
    column = pa.chunked_array([pa.array(feature.responses, pa.large_string())])
    ids = torch.from_numpy(feature.encode_target(column).array.astype(np.int64))
    port, found = problem.answer_port(feature), []
    with torch.inference_mode():
        for part in ids.split(BATCH):
            found.append(F.normalize(tower({port: part})[feature.name].float(), dim=-1, eps=1e-6))
    return np.ascontiguousarray(torch.cat(found).numpy())


def _bias_weight(
    feature: Reply, table_RD: np.ndarray, log_share_R: np.ndarray, judged: tuple[np.ndarray, np.ndarray]
) -> float:
    """How much it counts that a response is said often: what ranks the true replies of validation rows highest."""
    kept, target = judged[0], np.asarray(judged[1])
    places = feature.places(target)
    rows = np.flatnonzero(places >= 0)[:JUDGED]
    if not len(rows):
        return 0.0
    logits_NR = kept[rows, : table_RD.shape[1]].astype(np.float32) @ table_RD.T
    truth = places[rows]

    def mean_reciprocal_rank(weight: float) -> float:
        told_NR = logits_NR + np.float32(weight) * log_share_R
        better = (told_NR > told_NR[np.arange(len(rows)), truth][:, None]).sum(1)
        return float(np.mean(1 / (1 + better)))

    return max(BIASES, key=lambda weight: (mean_reciprocal_rank(weight), -weight))


def clusters(table_RD: np.ndarray) -> np.ndarray:
    """The kind of each response, int64 [R]: those that answer the same messages lie close (spherical k-means).

    The first centres are the most frequent responses that are unlike those before; the table alone decides.
    """
    count = min(CLUSTERS, max(2, len(table_RD) // 4))
    if len(table_RD) <= count:
        return np.arange(len(table_RD))
    first = [0]
    for place in range(1, len(table_RD)):
        if len(first) < count and (table_RD[first] @ table_RD[place]).max() < ALIKE:
            first.append(place)
    centres = table_RD[first]
    for _ in range(ROUNDS):
        kind = (table_RD @ centres.T).argmax(1)
        sums = np.zeros_like(centres)
        np.add.at(sums, kind, table_RD)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(length > 1e-6, sums / np.maximum(length, 1e-6), centres)
    return np.asarray((table_RD @ centres.T).argmax(1))


def answer_replies(
    module: PathModule,
    feature: Feature,
    inputs: Mapping[str, np.ndarray],
    calibration: Mapping[str, Any],
    *,
    device: str = "cpu",
) -> list[dict[str, Json]]:
    """What to reply to each row; only the part of the path that reads messages is computed."""
    assert isinstance(feature, Reply), f"{feature.name!r} is no reply"
    count = len(next(iter(inputs.values()))) if inputs else 0
    answers: list[dict[str, Json]] = []
    with torch.inference_mode():
        for begin in range(0, count, BATCH):
            batch = {
                port: torch.from_numpy(np.ascontiguousarray(array[begin : begin + BATCH])).to(device)
                for port, array in inputs.items()
                if port in module.ports
            }
            logits_NR = module.value(gene_of(feature.name), batch).float().cpu().numpy()
            answers += feature.decode(logits_NR, calibration)
    return answers
