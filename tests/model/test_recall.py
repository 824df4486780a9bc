"""A decoder that recalls: what it finds, what it leaves out, what gets likelier, and the same token by token."""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch

from polymath.model.build import build, get_weights, load_weights
from polymath.model.decode import Decoding
from polymath.model.decode import memory as begun
from polymath.model.decode.beam import beam_search
from polymath.model.decode.stepwise import one_pass
from polymath.model.layers import parse_layer
from polymath.model.layers._nearest import Nearest
from polymath.model.layers.recall import RUN, followed
from polymath.model.path import Gene, Path
from polymath.problem.form import Tokens, tokens

WIDTH, READS, VOCABULARY, END = 8, 30, 12, 11
WRITERS = [{"kind": "transformer_decoder", "heads": 2, "depth": 1}, {"kind": "recurrent_decoder", "width": 6}]
TEXTS = torch.tensor([[2, 3, 4, 5, 6], [2, 3, 4, 7, 0], [20, 21, 22, 0, 0], [9, 9, 8, 0, 0]])
ANSWERS = torch.tensor(
    [[3, 4, 5, 6, END, 0], [3, 4, 5, 7, 8, END], [9, 8, END, 0, 0, 0], [2, END, 0, 0, 0, 0]], dtype=torch.int32
)


def ids(values: torch.Tensor) -> Tokens:
    return Tokens(values, values != 0)


def made(writer: dict[str, object] = WRITERS[0], *, remember: bool = True) -> torch.nn.Module:
    torch.manual_seed(4)
    layer = parse_layer({"kind": "recall", "writer": writer, "pairs": 6, "recalled": 2})
    module = layer.build(tokens(5, width=WIDTH), tokens(5, vocabulary=READS), tokens(6, vocabulary=VOCABULARY))
    if remember:
        module.remember(ids(TEXTS), ids(ANSWERS))
    return module.eval()


def read(rows: int) -> Tokens:
    values = torch.randn(rows, 5, WIDTH, generator=torch.Generator().manual_seed(1))
    return Tokens(values, torch.ones(rows, 5, dtype=torch.bool))


def test_the_nearest_are_those_of_cosine_by_hand():
    generator = torch.Generator().manual_seed(0)
    stored = torch.randint(1, 9, (40, 6), generator=generator)
    asked = torch.randint(1, 9, (7, 5), generator=generator)
    texts = [[*row, *pairwise(row)] for row in stored.tolist()]
    rarity = {gram: np.log(41 / (1 + sum(gram in text for text in texts))) for text in texts for gram in text}

    def vector(grams: list[object]) -> dict[object, float]:
        found = {gram: (1 + np.log(grams.count(gram))) * rarity.get(gram, np.log(41)) for gram in grams}
        size = np.sqrt(sum(value**2 for value in found.values()))
        return {gram: value / size for gram, value in found.items()}

    cosine, place = Nearest.of(stored).to(asked, count=3)
    for row, told, where in zip(asked.tolist(), cosine.tolist(), place.tolist(), strict=True):
        mine = vector([*row, *pairwise(row)])
        others = [vector(text) for text in texts]
        by_hand = [sum(value * other.get(gram, 0) for gram, value in mine.items()) for other in others]
        assert told == pytest.approx(sorted(by_hand, reverse=True)[:3], abs=1e-5)
        assert [by_hand[i] for i in where] == pytest.approx(told, abs=1e-5)


def test_nothing_is_recalled_while_training():
    """Else the row itself would be, and the writer would learn less."""
    module, memory = made(WRITERS[1]), read(1)
    told, cosine = module.recall(ids(TEXTS[:1]))
    assert told[0, 0].tolist() == ANSWERS[0].tolist() and float(cosine[0, 0]) == pytest.approx(1, abs=1e-5)
    assert told[0, 1].tolist() == ANSWERS[1].tolist() and float(cosine[0, 1]) < 0.9
    plain = module.writer(memory, ids(ANSWERS[:1])).values
    assert not torch.allclose(module(memory, ids(TEXTS[:1]), ids(ANSWERS[:1])).values, plain)
    module.training = True  # its dropout stays off
    assert torch.equal(module(memory, ids(TEXTS[:1]), ids(ANSWERS[:1])).values, plain)


def test_runs_are_counted_and_found_again_behind_a_word_that_was_mended():
    told = torch.tensor([[[3, 4, 5, 6, END]]])
    run = torch.zeros_like(told)
    seen = []
    for one in (END, 3, 9, 5, 2):
        run, code = followed(run, told, torch.tensor([one]), end=END)
        seen.append(code[0, 0].tolist())
    assert seen[0] == [RUN, 0, 0, 0, 0] and seen[1] == [0, RUN, 0, 0, 0]
    assert seen[2] == [0, 0, RUN + 1 + RUN // 2, 0, 0]
    assert seen[3] == [0, 0, 0, RUN // 2 + 1, 0] and not any(seen[4]), "the end is never quoted"


@pytest.mark.parametrize("writer", WRITERS, ids=["transformer", "recurrent"])
def test_what_is_recalled_gets_likelier_and_nothing_else(writer):
    module, memory, text = made(writer), read(1), ids(torch.tensor([[2, 3, 4, 6, 0]]))
    answer = ids(torch.tensor([[3, 4, 5, END, 0, 0]]))
    plain = module.writer(memory, answer).values.log_softmax(-1)
    now = module(memory, text, answer).values.log_softmax(-1)
    assert (now[0, 0, 3] > plain[0, 0, 3]) and (now[0, 1, 4] > plain[0, 1, 4])
    likelier = {int(i) for i in (now[0, 3] > plain[0, 3] + 1e-4).nonzero()}
    assert likelier == {6, 7}, "the two recalled answers go on in two ways behind 3 4 5"
    unlike = ids(torch.tensor([[13, 14, 15, 0, 0]]))
    assert torch.allclose(module(memory, unlike, answer).values.log_softmax(-1), plain, atol=1e-5)
    empty = made(writer, remember=False)
    assert torch.allclose(empty(memory, text, answer).values.log_softmax(-1), plain, atol=1e-5)


@pytest.mark.parametrize("writer", WRITERS, ids=["transformer", "recurrent"])
def test_token_by_token_is_as_in_one_pass_and_the_batch_changes_nothing(writer):
    module, memory = made(writer), read(4)
    answer = torch.tensor([[3, 4, 5, 6, END], [3, 4, 9, 7, END], [9, 2, END, 0, 0], [2, END, 0, 0, 0]])
    with torch.inference_mode():
        whole = module(memory, ids(TEXTS), ids(answer)).values
        decoder, last = module.about(ids(TEXTS)), torch.full((4,), END)
        state = decoder.begin(memory)
        for place in range(5):
            logits, _, state = decoder.step(state, last)
            present = answer[:, place] != 0
            assert torch.allclose(logits[present], whole[present, place], atol=1e-5)
            last = answer[:, place]
        one = Tokens(memory.values[1:2], memory.mask[1:2])
        assert torch.allclose(module(one, ids(TEXTS[1:2]), ids(answer[1:2])).values, whole[1:2], atol=1e-5)


@pytest.mark.parametrize("writer", WRITERS, ids=["transformer", "recurrent"])
def test_beams_are_reordered_with_what_they_recall(writer):
    module, memory = made(writer), read(4)
    with torch.inference_mode():
        decoder = module.about(ids(TEXTS))
        greedy = one_pass(decoder, memory, Decoding(beam=1), most=8, barred=[0, 1])
        single = beam_search(decoder, memory, Decoding(beam=1), most=8, barred=[0, 1])
        assert torch.equal(greedy.ids_BKT, single.ids_BKT)
        found = beam_search(decoder, memory, Decoding(beam=3, n_best=3, length=0), most=8, barred=[0, 1])
        for row in range(4):
            for told, score in zip(found.ids_BKT[row].tolist(), found.scores_BK[row].tolist(), strict=True):
                ids_of = [i for i in told if i] + [END]
                alone = Tokens(memory.values[row : row + 1], memory.mask[row : row + 1])
                logits = module(alone, ids(TEXTS[row : row + 1]), ids(torch.tensor([ids_of]))).values[0]
                logits[:, :2] = -torch.inf
                again = logits.log_softmax(-1)[torch.arange(len(ids_of)), ids_of].sum()
                if len(ids_of) <= 8:
                    assert float(again) == pytest.approx(score, abs=1e-4)


def test_a_path_recalls_what_it_was_shown_and_what_was_stored():
    ports = {"en": tokens(5, vocabulary=READS), "answer/de": tokens(6, vocabulary=VOCABULARY)}
    layer = parse_layer({"kind": "recall", "writer": WRITERS[1], "pairs": 6, "recalled": 2})
    genes = (
        Gene(name="table", layer=parse_layer({"kind": "embedding", "width": WIDTH}), inputs=("in:en",)),
        Gene(name="w", layer=layer, inputs=("table", "in:en", "in:answer/de")),
    )
    module = build(Path(genes=genes, outputs={"de": "w"}), ports)
    assert module.rows_kept == 6
    module.remember({"en": TEXTS, "answer/de": ANSWERS})
    module.eval()
    inputs = {"en": TEXTS.numpy()}
    with torch.inference_mode():
        found = [one_pass(*begun(module, "de", inputs), Decoding(beam=1), most=8, barred=[0, 1])]
        module.genes[1].ready()
        twin = copy.deepcopy(module)
        assert twin.genes[1]._nearest is module.genes[1]._nearest
    other = build(Path(genes=genes, outputs={"de": "w"}), ports, seed=1).eval()
    for gene in ("table", "w"):
        other.module(gene).ready() if gene == "w" else None  # of what is not yet loaded: it must be seen to be old
        load_weights(other.module(gene), get_weights(module.module(gene)), name=gene)
    for one in (twin, other):
        with torch.inference_mode():
            found.append(one_pass(*begun(one, "de", inputs), Decoding(beam=1), most=8, barred=[0, 1]))
    assert all(torch.equal(found[0].ids_BKT, one.ids_BKT) for one in found[1:])
