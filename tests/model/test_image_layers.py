"""Image layers: shapes at any size, what they start as, what they learn from the first rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polymath.model.build import build
from polymath.model.layers import Layer, parse_layer
from polymath.model.layers.convolution import Convolution
from polymath.model.layers.depthwise_stage import DepthwiseStage
from polymath.model.layers.linear import Linear
from polymath.model.layers.pixels import Pixels
from polymath.model.layers.pool_map import PoolMap
from polymath.model.layers.residual_stage import ResidualStage
from polymath.model.layers.whitening import Whitening
from polymath.model.path import Gene, Path
from polymath.problem.form import pixels, tokens, vector
from polymath.search.choices import Recorder, first
from polymath.search.spaces import images

MAPS: list[Layer] = [
    Pixels(),
    Convolution(width=4),
    Convolution(width=5, size=5, step=2, activation="silu"),
    ResidualStage(width=6),
    ResidualStage(width=6, blocks=2, entry="stride", activation="gelu", gate="squeeze"),
    ResidualStage(width=4, blocks=0, entry="keep"),
    DepthwiseStage(width=6),
    DepthwiseStage(width=6, order="inverted", entry="keep", size=3, gate="squeeze", activation="silu"),
    ResidualStage(width=6, convolutions=1),
    Whitening(width=12),
    Whitening(width=500, size=5, activation="gelu"),
    PoolMap(),
    PoolMap(how="max"),
    PoolMap(how="mean_max"),
    PoolMap(how="attention"),
]


@pytest.mark.parametrize("layer", MAPS, ids=str)
@pytest.mark.parametrize("height, width", [(8, 8), (9, 13), (1, 1)])
def test_the_form_tells_the_shape(layer: Layer, height: int, width: int) -> None:
    form = pixels(3, height, width)
    module = parse_layer(layer.model_dump(mode="json")).build(form)
    out = module(torch.rand(2, 3, height, width))
    given = layer.form(form)
    assert tuple(out.shape) == (2, given.width, *given.size)
    assert layer.work(form) >= 0


@pytest.mark.parametrize("layer", MAPS, ids=str)
def test_every_weight_is_trained_and_examples_do_not_mix_when_predicting(layer: Layer) -> None:
    form = pixels(3, 8, 8)
    module = layer.build(form)
    x = torch.randn(4, 3, 8, 8, requires_grad=True)
    module(x).square().sum().backward()
    assert all(weight.grad is not None for weight in (x, *module.parameters()))
    module.eval()
    assert torch.allclose(module(x)[1:2], module(x[1:2]), atol=1e-5)


@pytest.mark.parametrize("layer", MAPS, ids=str)
def test_other_forms_are_refused(layer: Layer) -> None:
    for form in (vector(4), tokens(5, width=3)):
        with pytest.raises(ValueError, match=r"takes 1 input\(s\) of form map"):
            layer.form(form)


def test_residual_blocks_begin_as_the_identity() -> None:
    x = torch.rand(4, 8, 8, 8)
    for layer in (ResidualStage(width=8, entry="keep"), DepthwiseStage(width=8, entry="keep")):
        stage = layer.build(pixels(8, 8, 8))
        entry, block = stage[0], stage[-1]
        before = torch.relu(entry(x))
        assert torch.equal(block(before), before)


def test_a_batch_of_one_pixel_can_be_trained_on() -> None:
    module = ResidualStage(width=4).build(pixels(3, 2, 2))
    assert module(torch.rand(1, 3, 2, 2)).isfinite().all()


def test_pixels_are_normalised_by_what_prepare_saw() -> None:
    bytes_BCHW = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (50, 2, 8, 8), dtype=np.uint8))
    bytes_BCHW[:, 1] = 255  # an opaque alpha channel
    module = Pixels().build(pixels(2, 8, 8))
    module.prepare(bytes_BCHW)
    out = module(bytes_BCHW)
    assert out.dtype == torch.float32 and out.is_contiguous(memory_format=torch.channels_last)
    assert abs(float(out[:, 0].mean())) < 1e-4 and abs(float(out[:, 0].std()) - 1) < 1e-3
    assert torch.equal(out[:, 1], torch.zeros_like(out[:, 1]))
    assert {"mean", "scale"} <= set(module.state_dict()), "statistics must be stored with the weights"


def test_whitening_makes_the_leading_directions_uncorrelated_with_variance_one() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.avg_pool2d(torch.randn(40, 2, 18, 18, generator=generator), 3, stride=1)
    module = Whitening(width=10, activation="none").build(pixels(2, 16, 16))
    module.prepare(x)
    out = module(x)[:, :5, 1:-1, 1:-1].transpose(0, 1).flatten(1)
    assert torch.allclose(torch.cov(out), torch.eye(5), atol=0.05)
    assert torch.allclose(module(x)[:, 5:], -module(x)[:, :5], atol=1e-5)
    assert "filters" in module.state_dict() and [name for name, _ in module.named_parameters()] == ["bias"]


def test_attention_pool_begins_as_the_mean() -> None:
    x = torch.rand(2, 5, 4, 4)
    assert torch.allclose(PoolMap(how="attention").build(pixels(5, 4, 4))(x), x.mean((2, 3)), atol=1e-6)


def encoded(form_size: tuple[int, int, int], answer: object) -> Path:
    genes, last = images.encoder(Recorder(answer), "photo", pixels(*form_size), prefix="photo")
    head = Gene(name="head", layer=Linear(width=3), inputs=(last,))
    return Path.from_json(Path(genes=(*genes, head), outputs={"kind": "head"}).to_json())


@pytest.mark.parametrize("size", [(1, 8, 8), (3, 9, 33), (1, 28, 28), (3, 120, 90)])
def test_any_answers_give_a_path_that_trains(size: tuple[int, int, int]) -> None:
    generator = np.random.default_rng(1)
    ports = {"photo": pixels(*size)}
    batch = {"photo": torch.randint(0, 256, (3, *size), dtype=torch.uint8)}
    for answer in (first, *[lambda offer: offer.random(generator)] * 4):
        path = encoded(size, answer)
        module = build(path, ports)
        module.prepare(batch)
        out = module(batch)["kind"]
        out.sum().backward()
        assert out.shape == (3, 3) and out.isfinite().all()
        assert path.work(ports) > 0


def test_large_images_cost_no_more_than_a_few_small_ones() -> None:
    small = encoded((3, 32, 32), first).work({"photo": pixels(3, 32, 32)})
    large = encoded((3, 320, 320), first).work({"photo": pixels(3, 320, 320)})
    assert large < 10 * small


def test_mirrored_digits_are_other_digits_and_mirrored_blobs_are_not() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    assert not images.mirrors_keep_meaning(digits.images[:, None].astype(np.uint8), digits.target)
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 3, 600)
    blobs = generator.integers(0, 100, (600, 3, 40, 31)).astype(np.uint8)
    blobs[np.arange(600), codes] += 100
    assert images.mirrors_keep_meaning(blobs, codes)
    assert not images.mirrors_keep_meaning(blobs, generator.integers(0, 3, 600)), "nothing known: no claim"


def test_flips_come_first_only_where_mirrors_keep_meaning() -> None:
    form = pixels(1, 28, 28)
    for mirrored in (True, False):
        recipe = images.image_recipe(Recorder(first), form, rows=60_000, mirrored=mirrored)
        assert recipe.augmentation.flip is mirrored and recipe.augmentation.shift == 2
