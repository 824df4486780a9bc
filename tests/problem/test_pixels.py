"""Maps of pixels: how folders become pairs, masks become classes, and what is said of those that cannot."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from polymath.problem import Problem
from polymath.problem.features import Image as Picture
from polymath.problem.features import PixelMap, PixelNumbers
from polymath.problem.features._masks import COLOUR, as_mask, as_tiff, as_url, read_numbers, read_values
from polymath.problem.inference import infer
from polymath.problem.pictures import canvas_of, matched, settled
from polymath.problem.sources import read
from polymath.problem.sources.pairs import class_list
from polymath.spec import BadInput


def picture(path, *, size=(12, 16), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)


def mask(path, values, *, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Image.fromarray(np.asarray(values, dtype=np.uint8))
    if mode == "P":
        made = made.convert("P")
        made.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [0] * 759)
    made.save(path)


def halves(size=(12, 16), low=0, high=1):
    values = np.full(size, low)
    values[:, size[1] // 2 :] = high
    return values


def folder_of_pairs(folder, *, count=10, images="images", labels="labels", size=(12, 16)):
    for n in range(count):
        picture(folder / images / f"{n:02d}.png", size=size, seed=n)
        mask(folder / labels / f"{n:02d}.png", halves(size))
    return folder


@pytest.mark.parametrize(
    ("images", "labels"),
    [("images", "labels"), ("img", "masks"), ("JPEGImages", "SegmentationClass"), ("a/images", "a/gt")],
)
def test_pairs_by_folders(tmp_path, images, labels):
    rows = read(folder_of_pairs(tmp_path, images=images, labels=labels))
    assert len(rows) == 10 and rows.target_hint == labels.split("/")[-1].lower()
    paths = zip(*(rows.table[name].to_pylist() for name in rows.table.column_names), strict=True)
    assert all(a.rpartition("/")[2] == b.rpartition("/")[2] for a, b in paths)
    inference = infer(rows)
    assert [one.type for one in inference.outputs] == ["pixel_map"]
    assert [one.type for one in inference.inputs] == ["image"]


def test_pairs_by_splits_and_class_names(tmp_path):
    for part in ("train", "test"):
        folder_of_pairs(tmp_path / part, count=6)
    (tmp_path / "classes.csv").write_text("id,name\n0,road\n1,car\n7,void\n")
    rows = read(tmp_path)
    assert rows.given_split == "split" and set(rows.table["split"].to_pylist()) == {"train", "test"}
    (feature,) = infer(rows).outputs
    assert isinstance(feature, PixelMap)
    assert (feature.values, feature.names, feature.void) == ((0, 1), ("road", "car"), (7,))


def test_pairs_by_names(tmp_path):
    for n in range(8):
        picture(tmp_path / f"leaf{n}.png", seed=n)
        mask(tmp_path / f"leaf{n}_mask.png", halves())
    rows = read(tmp_path)
    assert len(rows) == 8 and rows.table.column_names == ["image", "mask"]


def test_names_that_look_like_endings_stay(tmp_path):
    for n, name in enumerate(("animal", "small", "old label", "x_seg", "one", "two", "six", "ten")):
        picture(tmp_path / "images" / f"{name}.png", seed=n)
        mask(tmp_path / "labels" / f"{name}.png", halves())
    assert len(read(tmp_path)) == 8


def test_a_mask_per_class(tmp_path):
    for n in range(8):
        picture(tmp_path / "images" / f"{n}.png", seed=n)
        mask(tmp_path / "masks" / "car" / f"{n}.png", halves(high=255))
        mask(tmp_path / "masks" / "sky" / f"{n}.png", halves(low=255, high=0) * (np.arange(12) < 4)[:, None])
    rows = read(tmp_path)
    feature = infer(rows).outputs[0].measure(rows.table["masks"], as_output=True)
    assert isinstance(feature, PixelMap)
    assert feature.classes == ("background", "car", "sky")
    target = feature.encode_target(rows.table["masks"]).array
    assert [int(target[0, 0, 0]), int(target[0, 0, -1]), int(target[0, -1, 0])] == [2, 1, 0]


def test_columns_of_a_table(tmp_path):
    folder_of_pairs(tmp_path, images="photos", labels="truth")
    lines = [f"photos/{n:02d}.png,truth/{n:02d}.png,{n}" for n in range(10)]
    (tmp_path / "metadata.csv").write_text("\n".join(["scene,mask,place", *lines]) + "\n")
    inference = infer(read(tmp_path))
    assert [(one.name, one.type) for one in inference.outputs] == [("mask", "pixel_map")]
    assert "scene" in [one.name for one in inference.inputs]


def test_unpaired_files_and_wrong_sizes_are_counted(tmp_path):
    folder_of_pairs(tmp_path, count=12)
    picture(tmp_path / "images" / "lonely.png")
    mask(tmp_path / "labels" / "nobody.png", halves())
    mask(tmp_path / "labels" / "03.png", halves((12, 20)))
    rows = read(tmp_path)
    assert rows.unused_counts == {"picture without a mask": 1, "mask without a picture": 1}
    inference = infer(rows)
    problem = Problem(name="p", inputs=inference.inputs, outputs=inference.outputs)
    kept = matched(rows, problem)
    assert len(kept) == 11 and kept.unused_counts["mask of another size than its picture"] == 1
    assert kept.unused[-1].value == "20 x 12 for 16 x 12"


def test_every_file_that_is_not_used_is_counted(tmp_path):
    folder_of_pairs(tmp_path)
    picture(tmp_path / "images" / "03.jpg")
    picture(tmp_path / "overview.png")
    (tmp_path / "images" / "10.png").touch()
    (tmp_path / "README.md").write_text("About streets.")
    (tmp_path / "classes.txt").write_text("road\ncar\n")
    assert read(tmp_path).unused_counts == {
        "another picture of the same name": 1,
        "lies outside the folders of pictures and masks": 1,
        "file is empty": 1,
        "not an image": 1,
    }


def test_pictures_that_cannot_be_read_are_refused(tmp_path):
    folder_of_pairs(tmp_path)
    for n in range(10):
        (tmp_path / "images" / f"{n:02d}.png").write_bytes(b"no picture")
    rows = read(tmp_path)
    inference = infer(rows)
    with pytest.raises(BadInput, match="no picture can be read"):
        settled(rows, Problem(name="p", inputs=inference.inputs, outputs=inference.outputs))


def test_no_mask_of_the_right_size_is_refused(tmp_path):
    folder_of_pairs(tmp_path)
    for n in range(10):
        mask(tmp_path / "labels" / f"{n:02d}.png", halves((6, 8)))
    rows = read(tmp_path)
    inference = infer(rows)
    problem = Problem(name="p", inputs=inference.inputs, outputs=inference.outputs)
    with pytest.raises(BadInput, match="no mask has the size of its picture"):
        matched(rows, problem)


@pytest.mark.parametrize("mode", ["L", "P"])
def test_index_and_palette_pictures_hold_the_same(tmp_path, mode):
    mask(tmp_path / "m.png", halves(high=2), mode=mode)
    assert np.unique(read_values(str(tmp_path / "m.png"))).tolist() == [0, 2]


def test_sixteen_bits_colours_and_data_urls(tmp_path):
    deep = halves(high=40_000)
    Image.fromarray(deep.astype(np.uint16)).save(tmp_path / "deep.png")
    assert np.array_equal(read_values(str(tmp_path / "deep.png")), deep)
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[2:] = (64, 0, 128)
    Image.fromarray(colours).save(tmp_path / "colours.png")
    values = read_values(str(tmp_path / "colours.png"))
    assert values[3, 0] == COLOUR + 64 * 65536 + 128
    for one in (halves(high=3), deep, values):
        assert np.array_equal(read_values(as_url(as_mask(one))), one)
    numbers = np.random.default_rng(0).normal(size=(3, 5, 6)).astype(np.float32)
    assert np.array_equal(read_numbers(as_url(as_tiff(numbers))), numbers)


def test_black_is_a_colour_among_colours():
    red, black = COLOUR + (200 << 16) + halves(low=0, high=0), COLOUR + np.zeros((12, 16), np.int64)
    red[:6] = COLOUR
    masks = column([red, black])  # read by itself, the second looks like grey values
    found = PixelMap(name="m").measure(masks, as_output=True)
    assert found.values == (COLOUR, COLOUR + (200 << 16)) and found.shares == (0.75, 0.25)
    encoded = found.encode_target(masks)
    assert not encoded.bad and not encoded.array[1].any()
    named = PixelMap(name="m", values=found.values, names=("sky", "car")).measure(masks, as_output=True)
    assert named.shares == found.shares


def test_maps_of_too_many_channels_and_classes_are_refused():
    pages = pa.chunked_array([pa.array([as_tiff(np.zeros((65, 4, 4)))], pa.binary())])
    with pytest.raises(BadInput, match="has 65 pages; 64 are possible"):
        PixelNumbers(name="m").measure(pages, as_output=True)
    with pytest.raises(BadInput, match="300 classes are named, and 250 are possible"):
        PixelMap(name="m", values=tuple(range(300))).measure(column([halves()]), as_output=True)


def test_values_that_no_mask_can_be_written_with_are_refused():
    with pytest.raises(BadInput, match="holds values above 65,535"):
        PixelMap(name="m").measure(pa.chunked_array([pa.array([halves(high=70_000).tolist()] * 2)]), as_output=True)


def column(masks):
    return pa.chunked_array(
        [pa.array([None if one is None else as_mask(np.asarray(one)) for one in masks], pa.binary())]
    )


def test_void_is_255_where_it_is_not_one_of_two_values():
    three = PixelMap(name="m").measure(column([halves(), halves(high=255)]), as_output=True)
    assert three.values == (0, 1) and three.void == (255,)
    two = PixelMap(name="m").measure(column([halves(high=255)] * 2), as_output=True)
    assert two.values == (0, 255) and two.void == ()


def test_values_that_are_no_class_and_empty_masks_are_said():
    feature = PixelMap(name="m", values=(0, 1), height=12, width=16).measure(column([halves()] * 3), as_output=True)
    strange = halves()
    strange[0, 0] = 9
    encoded = feature.encode_target(column([halves(), strange, np.full((12, 16), 255), None]))
    assert [one.row for one in encoded.bad] == [1, 2]
    assert "9" in encoded.bad[0].reason and "empty" in encoded.bad[1].reason
    assert encoded.array[1, 0, 0] == 255 and encoded.array[1, 0, 1] == 0
    assert feature.known(encoded.array).tolist() == [True, True, False, False]


def test_one_class_everywhere_is_refused():
    with pytest.raises(BadInput, match="of one class"):
        PixelMap(name="m").measure(column([np.zeros((9, 9))] * 3), as_output=True)


def test_upright_pictures_are_told_from_others():
    upright = [halves().T.repeat(2, 0) for _ in range(3)]
    assert PixelMap(name="m").measure(column(upright), as_output=True).upright
    assert not PixelMap(name="m").measure(column([halves()] * 3), as_output=True).upright


@pytest.mark.parametrize(("sky", "upright"), [(60, True), (0, False)])
def test_pictures_with_a_sky_are_upright_wherever_their_masks_are(sky, upright):
    random = np.random.default_rng(0)
    pictures = random.integers(40, 120, (24, 20, 30)).astype(np.uint8)
    pictures[:, :10] += np.uint8(sky)
    column = pa.chunked_array([pa.FixedShapeTensorArray.from_numpy_ndarray(pictures)])
    masks = PixelMap(name="m", values=(0, 1))
    asked, _ = settled(read(pa.table({"p": column})), Problem(name="x", inputs=(Picture(name="p"),), outputs=(masks,)))
    assert asked.outputs[0].upright == upright


def test_rare_classes_are_raised_where_that_serves_their_iou():
    random = np.random.default_rng(0)
    target = (random.random((12, 32, 32)) < 0.1).astype(np.uint8)
    feature = PixelMap(name="m", values=(0, 1), shares=(0.9, 0.1), height=32, width=32)
    evidence = target * 2.0 + random.normal(0, 0.7, target.shape) - 2.0  # right, but for a bias towards the common one
    raw = np.stack([np.zeros_like(evidence), evidence], 1).reshape(12, 2, -1)
    raw = np.take_along_axis(raw, feature.judges(target)[:, None], 2).astype(np.float32)
    told = feature.calibrate(raw, target)
    before, after = (feature.scores(feature.calibrated(raw, one), target)["mean_iou"] for one in ({}, told))
    assert after > before + 0.05
    assert feature.calibrate(feature.calibrated(raw, told), target) == {}, "what is right stays"


def test_numbers_are_told_from_classes(tmp_path):
    for n in range(8):
        picture(tmp_path / "images" / f"{n}.png", seed=n)
        depth = np.random.default_rng(n).integers(500, 9000, (12, 16)).astype(np.uint16)
        (tmp_path / "depth").mkdir(exist_ok=True)
        Image.fromarray(depth).save(tmp_path / "depth" / f"{n}.png")
    (feature,) = infer(read(tmp_path)).outputs
    assert isinstance(feature, PixelNumbers)


def test_scale_invariant_loss_forgives_a_common_factor():
    import torch

    maps = [np.random.default_rng(n).uniform(1, 9, (1, 9, 9)) for n in range(4)]
    values = pa.chunked_array([pa.array([as_tiff(one) for one in maps], pa.binary())])
    feature = PixelNumbers(name="d", objective="scale_invariant").measure(values, as_output=True)
    target = torch.from_numpy(feature.encode_target(values).array)
    shifted, bent = (
        target + 0.5,
        target + 0.5 * torch.randn(target.shape, generator=torch.Generator().manual_seed(0)).sign(),
    )
    assert float(feature.loss(shifted, target).mean()) == pytest.approx(0.125, abs=1e-5)
    assert float(feature.loss(bent, target).mean()) > 0.2
    said = feature.decode(target.numpy(), {})
    assert feature.said_scores(said, values)["rmse"] < 1e-3


def test_said_scores_count_every_pixel():
    feature = PixelMap(name="m").measure(column([halves()] * 2), as_output=True)
    wrong = halves()
    wrong[:3, :] = 1  # 3 of 12 rows: 24 of 96 pixels of class 0 are said to be class 1
    said = [{"value": as_url(as_mask(wrong))}, {"value": as_url(as_mask(halves()))}]
    found = feature.said_scores(said, column([halves()] * 2))
    assert found["iou 0"] == pytest.approx(168 / 192) and found["iou 1"] == pytest.approx(192 / 216)
    assert found["mean_iou"] == pytest.approx((168 / 192 + 192 / 216) / 2)
    assert found["accuracy"] == pytest.approx(1 - 24 / 384)


def test_kept_pixels_score_like_all_pixels():
    import torch

    random = np.random.default_rng(0)
    masks = random.integers(0, 3, (6, 20, 30)).repeat(2, 1).repeat(2, 2)
    feature = PixelMap(name="m").measure(column(list(masks)), as_output=True)
    target = feature.encode_target(column(list(masks))).array
    raw = 3 * np.eye(3, dtype=np.float32)[target].transpose(0, 3, 1, 2) + random.normal(0, 1.5, (6, 3, 40, 60))
    raw = raw.astype(np.float32)
    kept = feature.kept(torch.from_numpy(raw), torch.from_numpy(target)).numpy()
    whole = (raw.argmax(1) == target).mean()
    assert kept.shape == (6, 3, 1024)
    assert feature.scores(kept, target)["accuracy"] == pytest.approx(whole, abs=0.02)


def test_the_pixels_that_judge_lie_in_all_columns_and_rows():
    feature = PixelMap(name="m").measure(column([halves((64, 64))]), as_output=True)
    (places,) = feature.judges(np.zeros((1, 512, 512), np.uint8))
    assert len(np.unique(places)) == 1024 and (np.diff(places) > 0).all()
    assert np.bincount(places % 512 // 64).min() > 100 and np.bincount(places // 512 // 64).min() > 100


def test_canvas_of_unlike_and_of_large_pictures():
    alike, note = canvas_of(np.array([[180, 240]] * 5), count=5)
    assert tuple(alike) == (180, 240, 1.0) and note == "Pictures of 240 x 180."
    strips, _ = canvas_of(np.array([[128, 512]] * 8 + [[1024, 512]]), count=9)
    assert (strips.height, strips.width) == (128, 512)
    mixed, note = canvas_of(np.array([[100, 90], [70, 130]]), count=2)
    assert tuple(mixed) == (128, 160, 1.0) and "canvas" in note
    large, note = canvas_of(np.array([[3000, 4000]] * 5), count=5)
    assert large.scale == pytest.approx(0.256) and max(large.height, large.width) == 1024 and "26 %" in note


def test_pictures_and_masks_lie_alike_on_the_canvas(tmp_path):
    for n, size in enumerate([(12, 16), (20, 10), (9, 9)] * 3):
        values = np.random.default_rng(n).integers(0, 2, size)
        mask(tmp_path / "images" / f"{n}.png", values * 255)
        mask(tmp_path / "labels" / f"{n}.png", values)
    rows = read(tmp_path)
    inference = infer(rows)
    problem, _ = settled(rows, Problem(name="p", inputs=inference.inputs, outputs=inference.outputs))
    (image,), (output,) = problem.inputs, problem.outputs
    assert isinstance(image, Picture) and isinstance(output, PixelMap)
    seen = image.sized(rows.table["image"]).encode(rows.table["image"]).array
    target = output.measure(rows.table["labels"], as_output=True).encode_target(rows.table["labels"]).array
    assert seen.shape[2:] == target.shape[1:]
    known = target != 255
    assert known.sum(axis=(1, 2)).tolist() == [192, 200, 81] * 3
    assert ((seen[:, 0] > 127) == target)[known].all()


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("id,name\n0,sky\n2,car\n", ((0, "sky"), (2, "car"))),
        ("sky\ncar\n", ((0, "sky"), (1, "car"))),
        ("64 0 128 car\n0 0 0 void\n", ((COLOUR + 64 * 65536 + 128, "car"), (COLOUR, "void"))),
        ("0\tsky blue\n1\tcar\n", ((0, "sky blue"), (1, "car"))),
        ("id,name\n0,sky\n2,car\n,\n", ((0, "sky"), (2, "car"))),
        ("sky\nm²\n", ((0, "sky"), (1, "m²"))),
        ("a,b,c\nd,e,f\n", ()),
    ],
)
def test_files_that_name_classes(text, classes):
    assert class_list(text) == classes
