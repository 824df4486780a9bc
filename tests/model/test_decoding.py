"""Decoders and the search for answers: token by token as in one pass, and beams against all answers there are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from polymath.model.build import build
from polymath.model.decode import Decoding, in_integers, packed
from polymath.model.decode.beam import beam_search
from polymath.model.decode.best import best
from polymath.model.decode.stepwise import one_pass, stepwise
from polymath.model.layers import parse_layer
from polymath.model.layers._answers import Decoder
from polymath.model.path import Gene, Path
from polymath.problem.form import Tokens, tokens

WIDTH, VOCABULARY, END = 8, 7, 6
KINDS = [
    {"kind": "transformer_decoder", "heads": 2, "depth": 2},
    {"kind": "recurrent_decoder", "width": 6, "depth": 3},
    {"kind": "recurrent_decoder", "width": 6, "look": "additive", "cell": "gru", "depth": 1},
    {"kind": "recurrent_decoder", "width": 6, "look": "none", "depth": 2},
]
NAMES = ["transformer", "stacked", "additive", "none"]


def made(settings: dict[str, object]) -> Decoder:
    """A decoder whose weights are far from zero, so that it has opinions."""
    torch.manual_seed(4)
    module = parse_layer(settings).build(tokens(5, width=WIDTH), tokens(6, vocabulary=VOCABULARY))
    for weight in module.parameters():
        weight.data += 0.4 * torch.randn(weight.shape)
    assert isinstance(module, Decoder)
    return module.eval()


def read(rows: int = 4) -> Tokens:
    """What was read: 5, 3, 1 and 0 tokens, again and again; noise where padding is."""
    lengths = torch.tensor([5, 3, 1, 0]).repeat(rows)[:rows]
    return Tokens(
        torch.randn(rows, 5, WIDTH, generator=torch.Generator().manual_seed(1)), torch.arange(5) < lengths[:, None]
    )


def told(decoder: Decoder, memory: Tokens, ids: list[int]) -> list[float]:
    """Logarithms of the probabilities of these tokens and the end, for one example."""
    answer = torch.tensor([[*ids, END]])
    logits = decoder(memory, Tokens(answer, answer != 0)).values[0]
    return logits.log_softmax(-1)[torch.arange(len(ids) + 1), answer[0]].tolist()


@pytest.mark.parametrize("settings", KINDS, ids=NAMES)
def test_token_by_token_is_as_in_one_pass(settings):
    decoder, memory = made(settings), read()
    answer = torch.tensor([[2, 3, 4, 5, END], [3, 3, 2, END, 0], [5, END, 0, 0, 0], [4, 2, END, 0, 0]])
    with torch.inference_mode():
        whole = decoder(memory, Tokens(answer, answer != 0)).values
        state, ids = decoder.begin(memory), torch.full((4,), END)
        for place in range(5):
            logits, looked, state = decoder.step(state, ids)
            present = answer[:, place] != 0
            assert torch.allclose(logits[present], whole[present, place], atol=1e-5)
            if looked is not None:
                assert torch.allclose(looked.sum(1), torch.ones(4), atol=1e-5) and not looked[1, 3:].any()
            ids = answer[:, place]


@pytest.mark.parametrize("settings", KINDS, ids=NAMES)
def test_no_token_sees_itself_or_what_comes(settings):
    decoder, memory = made(settings), read(1)
    one, other = torch.tensor([[2, 3, 4, 5, END]]), torch.tensor([[2, 3, 5, 2, END]])
    a, b = (decoder(memory, Tokens(ids, ids != 0)).values for ids in (one, other))
    assert torch.allclose(a[:, :3], b[:, :3], atol=1e-6) and not torch.allclose(a[:, 3], b[:, 3], atol=1e-3)


@pytest.mark.parametrize("settings", KINDS, ids=NAMES)
@pytest.mark.parametrize(("length", "coverage"), [(0.0, 0.0), (1.0, 0.0), (0.6, 0.4)])
def test_a_wide_beam_finds_the_best_of_all_answers(settings, length, coverage):
    if coverage and settings.get("look") == "none":
        pytest.skip("it looks nowhere")
    decoder, memory, most = made(settings), read(2), 3
    how = Decoding(beam=40, n_best=3, length=length, coverage=coverage)
    with torch.inference_mode():
        found = beam_search(decoder, memory, how, most=most, barred=[0, 1])
        for row in range(2):
            one = Tokens(memory.values[row : row + 1], memory.mask[row : row + 1])
            scores = {}
            for size in range(most):
                for ids in itertools.product(range(2, END), repeat=size):
                    scores[ids] = by_hand(decoder, one, list(ids), how)
            best = sorted(scores, key=lambda ids: -scores[ids])[:3]
            for place, ids in enumerate(best):
                assert [i for i in found.ids_BKT[row, place].tolist() if i] == list(ids)
                assert float(found.scores_BK[row, place]) == pytest.approx(scores[ids], abs=1e-4)


def by_hand(decoder: Decoder, memory: Tokens, ids: list[int], how: Decoding) -> float:
    """Equation 14 for one answer; probabilities among the ids that may be chosen."""
    state, given, total = decoder.begin(memory), END, 0.0
    covered = torch.zeros(memory.mask.shape[1])
    for one in [*ids, END]:
        logits, looked, state = decoder.step(state, torch.tensor([given]))
        logits[:, :2] = -torch.inf
        total += float(logits.log_softmax(1)[0, one])
        covered += 0 if looked is None else looked[0]
        given = one
    penalty = sum(np.log(min(max(float(c), 1e-6), 1.0)) for c, m in zip(covered, memory.mask[0], strict=True) if m)
    return total / ((5 + len(ids) + 1) / 6) ** how.length + how.coverage * penalty


@pytest.mark.parametrize("settings", KINDS, ids=NAMES)
@pytest.mark.parametrize("beam", [1, 2, 3])
def test_examples_do_not_depend_on_their_batch(settings, beam):
    """Also where one is done long before the others, and is computed on with them."""
    decoder, rows = made(settings), 24
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(0, 6, (rows,), generator=generator)
    values = 2 * torch.randn(rows, 5, WIDTH, generator=generator)
    memory = Tokens(values, torch.arange(5) < lengths[:, None])
    search = one_pass if beam == 1 else beam_search
    how = Decoding(beam=beam, n_best=min(beam, 2))
    with torch.inference_mode():
        together = search(decoder, memory, how, most=12, barred=[0, 1])
        for row in range(rows):
            one = Tokens(memory.values[row : row + 1], memory.mask[row : row + 1])
            alone = search(decoder, one, how, most=12, barred=[0, 1])
            for place in range(how.n_best):
                assert torch.equal(alone.ids_BKT[0, place], together.ids_BKT[row, place])
                assert torch.allclose(alone.scores_BK[0, place], together.scores_BK[row, place], atol=1e-5)


def test_drawing_from_one_token_is_greedy_and_a_seed_draws_the_same():
    decoder, memory = made(KINDS[0]), read()
    with torch.inference_mode():
        greedy = one_pass(decoder, memory, Decoding(beam=1), most=6, barred=[0, 1])
        first = one_pass(decoder, memory, Decoding(temperature=1, top_k=1), most=6, barred=[0, 1])
        sharp = one_pass(decoder, memory, Decoding(temperature=1, top_p=1e-6), most=6, barred=[0, 1])
        drawn = [
            one_pass(decoder, memory, Decoding(temperature=3, seed=seed), most=6, barred=[0, 1]).ids_BKT
            for seed in (1, 1, 2)
        ]
    assert torch.equal(first.ids_BKT, greedy.ids_BKT) and torch.equal(sharp.ids_BKT, greedy.ids_BKT)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert int(drawn[2].max()) < END and not (drawn[2] == 1).any(), "what is barred is never drawn"


def test_what_is_written_can_be_read_while_it_is_written():
    decoder, memory = made(KINDS[1]), read(1)
    with torch.inference_mode():
        whole = one_pass(decoder, memory, Decoding(beam=1), most=6, barred=[0, 1]).ids_BKT[0, 0]
        parts = [int(ids[0]) for _, ids, _ in stepwise(decoder, memory, Decoding(beam=1), most=6, barred=[0, 1])]
    assert [one for one in parts if one != END] == [one for one in whole.tolist() if one]


@pytest.mark.parametrize(
    ("examples", "width", "vocabulary", "count"),
    [(5, 4, 4000, 8), (5, 1, 4000, 1), (3, 4, 7, 8), (2, 1, 7, 8), (4, 3, 64, 6), (4, 3, 65, 6), (2, 40, 7, 80)],
)
def test_the_best_tokens_are_those_of_all(examples, width, vocabulary, count):
    generator = torch.Generator().manual_seed(0)
    told = torch.randn(examples * width, vocabulary, generator=generator).log_softmax(1)
    told[:, :2] = -torch.inf
    before = torch.randn(examples, width, generator=generator)
    scores, hypothesis, ids = best(told, before, count)
    whole = (told.view(examples, width, vocabulary) + before[:, :, None]).flatten(1)
    expected, place = whole.topk(min(count, width * vocabulary), dim=1)
    assert torch.equal(scores, expected)
    found = scores.isfinite()
    assert torch.equal((hypothesis * vocabulary + ids)[found], place[found])


@pytest.mark.parametrize("settings", KINDS, ids=NAMES)
def test_hypotheses_go_on_from_where_they_came(settings):
    """Two of each example are moved, doubled and left out; each gives what it gives alone."""
    decoder, memory = made(settings), read()
    words = [[2, 3], [4, 5], [3, 2], [5, 4], [2, 2], [3, 3], [4, 4], [5, 5]]
    with torch.inference_mode():
        state = decoder.begin(memory)
        _, _, state = decoder.step(state, torch.full((4,), END))
        state = state.hypotheses(torch.arange(4).repeat_interleave(2))
        _, _, state = decoder.step(state, torch.tensor(words)[:, 0])
        keep = torch.tensor([0, 2, 3])
        state = state.examples(keep).hypotheses(torch.tensor([1, 0, 5, 5, 6, 7]))
        logits, _, _ = decoder.step(state, torch.tensor([2, 3, 4, 5, 2, 3]))
        for place, (example, row, last) in enumerate(
            [(0, 1, 2), (0, 0, 3), (2, 5, 4), (2, 5, 5), (3, 6, 2), (3, 7, 3)]
        ):
            one = Tokens(memory.values[example : example + 1], memory.mask[example : example + 1])
            alone = decoder.begin(one)
            for token in (END, words[row][0], last):
                expected, _, alone = decoder.step(alone, torch.tensor([token]))
            assert torch.allclose(logits[place], expected[0], atol=1e-5)


def test_more_answers_than_hypotheses_are_refused():
    with pytest.raises(ValueError, match="beam of at least"):
        Decoding(beam=2, n_best=3)


def test_integers_say_nearly_the_same():
    form, answer = tokens(5, width=WIDTH), tokens(6, vocabulary=VOCABULARY)
    for settings in KINDS:
        gene = Gene(name="d", layer=parse_layer(settings), inputs=("in:x", "in:answer"))
        torch.manual_seed(2)
        path = build(Path(genes=(gene,), outputs={"y": "d"}), {"x": form, "answer": answer}).eval()
        for weight in path.parameters():
            weight.data += 0.3 * torch.randn(weight.shape)
        ids = torch.tensor([[2, 3, 4, 5, END]] * 4)
        batch = {"x": read(), "answer": Tokens(ids, ids != 0)}
        with torch.inference_mode():
            whole, integers = path(batch)["y"], in_integers(path)(batch)["y"]
            assert torch.allclose(packed(path)(batch)["y"], whole, atol=1e-4), "another layout, the same numbers"
            again = in_integers(path)
            assert in_integers(again) is again, "done once"
        error = (whole.log_softmax(-1) - integers.log_softmax(-1)).abs().mean()
        assert 0 < error < 0.1, f"{settings['kind']}: {error}"
