"""Text layers: padding never matters, empty texts are harmless, order is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polymath.model.build import build
from polymath.model.layers import Layer, parse_layer
from polymath.model.layers.convolution_tokens import ConvolutionTokens
from polymath.model.layers.embedding import Embedding
from polymath.model.layers.linear import Linear
from polymath.model.layers.pool_tokens import PoolTokens
from polymath.model.layers.recurrent import Recurrent
from polymath.model.layers.transformer import Transformer
from polymath.model.path import Gene, Path
from polymath.problem.form import Tokens, pixels, tokens, vector
from polymath.search.choices import Recorder, first
from polymath.search.spaces import texts

LAYERS: list[Layer] = [
    ConvolutionTokens(width=6),
    ConvolutionTokens(width=4, sizes=(1, 5), keep=True, dropout=0.1, activation="gelu"),
    Recurrent(width=6),
    Recurrent(width=4, cell="lstm", depth=3, dropout=0.1),
    Recurrent(width=8, both_ways=False, depth=2),
    Transformer(heads=2, dropout=0.0),
    Transformer(heads=1, depth=1, positions="none", causal=True),
    PoolTokens(),
    PoolTokens(how="max"),
    PoolTokens(how="mean_max"),
    PoolTokens(how="attention"),
    PoolTokens(how="last"),
]
WIDTH, LENGTH = 8, 7


def batch() -> Tokens:
    """Texts of 7, 3, 1 and 0 tokens; noise where padding is."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(LENGTH) < torch.tensor([7, 3, 1, 0])[:, None]
    return Tokens(torch.randn(4, LENGTH, WIDTH, generator=generator), mask)


def stirred(module: torch.nn.Module) -> torch.nn.Module:
    """The module with no weight left at zero, when predicting."""
    generator = torch.Generator().manual_seed(1)
    for weight in module.parameters():
        weight.data += 0.3 * torch.randn(weight.shape, generator=generator)
    return module.eval()


def values(out: Tokens | torch.Tensor) -> torch.Tensor:
    return out.values if isinstance(out, Tokens) else out


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_the_form_tells_the_shape_and_every_weight_is_trained(layer: Layer) -> None:
    form = tokens(LENGTH, width=WIDTH)
    module = parse_layer(layer.model_dump(mode="json")).build(form)
    x = batch()
    out = module(Tokens(x.values.requires_grad_(), x.mask))
    given = layer.form(form)
    assert tuple(values(out).shape) == (4, *given.size, given.width)
    assert values(out).isfinite().all()
    values(out).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in (x.values, *module.parameters()))
    assert layer.work(form) >= 0


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_padding_changes_nothing(layer: Layer) -> None:
    module = stirred(layer.build(tokens(LENGTH, width=WIDTH)))
    x = batch()
    other = Tokens(torch.where(x.mask[..., None], x.values, torch.full_like(x.values, 99.0)), x.mask)
    assert torch.allclose(values(module(x)), values(module(other)), atol=1e-5)
    longer = Tokens(torch.nn.functional.pad(x.values, (0, 0, 0, 3), value=5.0), torch.nn.functional.pad(x.mask, (0, 3)))
    out, out_longer = values(module(x)), values(module(longer))
    assert torch.allclose(out, out_longer[:, :LENGTH] if out.ndim == 3 else out_longer, atol=1e-5)
    alone = values(module(Tokens(x.values[1:2], x.mask[1:2])))
    assert torch.allclose(out[1:2], alone, atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_ids_and_other_forms_are_refused(layer: Layer) -> None:
    for form in (vector(4), pixels(1, 2, 3), tokens(5, vocabulary=30)):
        with pytest.raises(ValueError, match="takes"):
            layer.form(form)


@pytest.mark.parametrize("how", ["mean", "max", "mean_max", "attention", "last"])
def test_an_empty_text_pools_to_zeros(how: str) -> None:
    module = stirred(PoolTokens(how=how).build(tokens(LENGTH, width=WIDTH)))
    assert torch.equal(module(batch())[3], torch.zeros_like(module(batch())[3]))


def test_pools_see_only_tokens() -> None:
    x = batch()
    form = tokens(LENGTH, width=WIDTH)
    assert torch.allclose(PoolTokens().build(form)(x)[1], x.values[1, :3].mean(0))
    assert torch.allclose(PoolTokens(how="max").build(form)(x)[1], x.values[1, :3].amax(0))
    assert torch.allclose(PoolTokens(how="last").build(form)(x)[1], x.values[1, 2])
    assert torch.allclose(PoolTokens(how="attention").build(form)(x)[1], x.values[1, :3].mean(0), atol=1e-6)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_both_ways_equals_a_packed_bidirectional_net(cell: str) -> None:
    x = batch()
    module = Recurrent(width=5, cell=cell).build(tokens(LENGTH, width=WIDTH))
    kind = torch.nn.GRU if cell == "gru" else torch.nn.LSTM
    peer = kind(WIDTH, 5, batch_first=True, bidirectional=True)
    state = {name: tensor for name, tensor in module.ahead[0].state_dict().items()}
    state |= {f"{name}_reverse": tensor for name, tensor in module.back[0].state_dict().items()}
    peer.load_state_dict(state)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        x.values[:3], x.mask[:3].sum(1), batch_first=True, enforce_sorted=False
    )
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(peer(packed)[0], batch_first=True)
    assert torch.allclose(module(x).values[:3], expected, atol=1e-5)


def test_a_causal_transformer_does_not_see_what_comes() -> None:
    form = tokens(LENGTH, width=WIDTH)
    x = batch()
    changed = x.values.clone()
    changed[0, 5:] = -2.0 * x.values[0, :2]
    for causal, same in ((True, True), (False, False)):
        module = stirred(Transformer(heads=2, causal=causal).build(form))
        before, after = module(x).values[0, :5], module(Tokens(changed, x.mask)).values[0, :5]
        assert torch.allclose(before, after, atol=1e-5) is same


def test_rotary_positions_tell_order() -> None:
    x = batch()
    turned = Tokens(x.values[:1].flip(1), x.mask[:1])
    pooled = PoolTokens().build(tokens(LENGTH, width=WIDTH))
    for positions, same in (("none", True), ("rotary", False)):
        module = stirred(Transformer(heads=2, positions=positions).build(tokens(LENGTH, width=WIDTH)))
        there, back = pooled(module(Tokens(x.values[:1], x.mask[:1]))), pooled(module(turned))
        assert torch.allclose(there, back, atol=1e-5) is same


@pytest.mark.parametrize("positions", ["none", "learned"])
def test_embedding_crops_and_keeps_padding_at_zero(positions: str) -> None:
    form = tokens(10, vocabulary=20)
    layer = Embedding(width=4, length=6, positions=positions)
    assert layer.form(form) == tokens(6, width=4)
    module = stirred(layer.build(form))
    ids = torch.tensor([[5, 6, 7, 0, 0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]])
    out = module(Tokens(ids, ids != 0))
    assert tuple(out.values.shape) == (2, 6, 4)
    assert torch.equal(out.values[0, 3:], torch.zeros(3, 4))
    alone = module(Tokens(ids[:1], ids[:1] != 0))
    assert alone.values.shape[1] == 3, "columns without any token are not worth computing"
    assert torch.equal(alone.values[0], out.values[0, :3])


def test_an_embedding_takes_ids_only_and_a_batch_of_empty_texts() -> None:
    with pytest.raises(ValueError, match="ids of a vocabulary"):
        Embedding(width=4).form(tokens(5, width=3))
    ids = torch.zeros(2, 5, dtype=torch.int32)
    out = Embedding(width=4).build(tokens(5, vocabulary=9))(Tokens(ids, ids != 0))
    assert not out.mask.any() and torch.equal(out.values, torch.zeros_like(out.values))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="multiple of 2 x 3 heads"):
        Transformer(heads=3).form(tokens(4, width=8))


def test_any_answers_give_a_path_that_trains() -> None:
    generator = np.random.default_rng(1)
    form = tokens(90, vocabulary=40)
    ids = torch.randint(1, 40, (4, 90)) * (torch.arange(90) < torch.tensor([90, 12, 1, 0])[:, None])
    for answer in (first, *[lambda offer: offer.random(generator)] * 10):
        genes, last = texts.encoder(Recorder(answer), "body", form, prefix="body")
        head = Gene(name="head", layer=Linear(width=3), inputs=(last,))
        path = Path.from_json(Path(genes=(*genes, head), outputs={"kind": "head"}).to_json())
        out = build(path, {"body": form})({"body": ids})["kind"]
        out.sum().backward()
        assert out.shape == (4, 3) and out.isfinite().all()
        assert path.work({"body": form}) >= 0
