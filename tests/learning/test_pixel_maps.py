"""Maps of pixels the whole way: a folder of pairs, a task, answers as files, scores of every class, a report."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from polymath import Polymath
from polymath.app.main import app
from polymath.problem import Problem
from polymath.problem.features import Image as Picture
from polymath.problem.features import PixelNumbers
from polymath.spec import BadInput, loads

SIZES = ((32, 40), (32, 40), (24, 56))


def scenes(folder, *, count=18, sizes=SIZES, seed=0):
    """Red boxes on grey noise, of class 7; the box of every picture lies elsewhere."""
    random = np.random.default_rng(seed)
    for n in range(count):
        height, width = sizes[n % len(sizes)]
        picture = random.integers(60, 130, (height, width, 3))
        label = np.zeros((height, width), dtype=np.uint8)
        top, left = random.integers(0, height - 10), random.integers(0, width - 12)
        picture[top : top + 10, left : left + 12] = np.array([200, 40, 40]) + random.integers(-20, 20, (10, 12, 3))
        label[top : top + 10, left : left + 12] = 7
        for name, array in (("images", picture), ("labels", label)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(folder / name / f"{n:02d}.png")
    return folder


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A store with a task of heads alone, which take a second."""
    place = tmp_path_factory.mktemp("pixels")
    folder = scenes(place / "scenes")
    (folder / "classes.txt").write_text("0,ground\n7,box\n")
    with Polymath(place / "store") as knowledge:
        knowledge.learn(folder, name="boxes", work=2, engine="inline", space="heads", cache=str(place / "cache"))
    return place


def test_scores_of_every_class_at_full_resolution(learned):
    with Polymath(learned / "store") as knowledge:
        result = knowledge.task("boxes").evaluate(learned / "scenes")
    scores = result["scores"]
    assert result["rows"] == 18 and result["rows_unused"] == 0
    assert scores["iou box"] > 0.7 and scores["iou ground"] > 0.9
    assert scores["mean_iou"] == pytest.approx((scores["iou box"] + scores["iou ground"]) / 2)


def test_predictions_are_files_like_the_masks(learned, tmp_path):
    store = ["--store", str(learned / "store")]
    done = CliRunner().invoke(
        app, ["predict", "boxes", str(learned / "scenes"), "--out", str(tmp_path / "out"), *store]
    )
    assert done.exit_code == 0, done.output
    for n in range(18):
        said = Image.open(tmp_path / "out" / f"{n:02d}.png")
        truth = Image.open(learned / "scenes" / "labels" / f"{n:02d}.png")
        assert said.size == truth.size and said.mode == "P"
        assert set(np.unique(np.asarray(said))) <= {0, 7}
    one = str(learned / "scenes" / "images" / "02.png")
    done = CliRunner().invoke(app, ["predict", "boxes", one, "--json", *store])
    (answer,) = loads(done.stdout)["predictions"]
    assert answer["labels"]["value"].startswith("data:image/png;base64,")
    assert set(answer["labels"]["shares"]) == {"ground", "box"}


def test_the_report_shows_pictures_and_classes(learned, tmp_path):
    with Polymath(learned / "store") as knowledge:
        page = knowledge.task("boxes").report(tmp_path / "page.html", cache=learned / "cache").read_text()
    assert "Worst pictures" in page and "intersection over union" in page and ">box<" in page
    assert page.count("data:image/png") >= 4


def test_numbers_with_intervals_that_are_wide_where_it_is_hard(tmp_path):
    random = np.random.default_rng(0)
    for n in range(24):  # bright pixels say nothing of the depth
        picture = random.integers(0, 256, (8, 8)).repeat(4, 0).repeat(4, 1)
        depth = picture * 10.0 + np.where(picture > 127, random.normal(0, 300, picture.shape), 0)
        (tmp_path / "maps" / "images").mkdir(parents=True, exist_ok=True)
        (tmp_path / "maps" / "depth").mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / "maps" / "images" / f"{n}.png")
        Image.fromarray(depth.astype(np.float32)).save(tmp_path / "maps" / "depth" / f"{n}.tif")
    asked = Problem(name="maps", inputs=(Picture(name="image"),), outputs=(PixelNumbers(name="depth", spread=True),))
    wishes = {"work": 2, "engine": "inline", "space": "heads", "cache": str(tmp_path / "cache")}
    with Polymath(tmp_path / "store") as knowledge:
        task = knowledge.learn(tmp_path / "maps", problem=asked, name="maps", **wishes)
        assert 0.8 < task.evaluate(tmp_path / "maps")["scores"]["coverage"] < 0.99
    told = [
        "predict",
        "maps",
        str(tmp_path / "maps"),
        "--out",
        str(tmp_path / "out"),
        "--store",
        str(tmp_path / "store"),
    ]
    assert CliRunner().invoke(app, told).exit_code == 0
    low, high = (np.asarray(Image.open(tmp_path / "out" / f"3_{side}.tif")) for side in ("low", "high"))
    bright = np.asarray(Image.open(tmp_path / "maps" / "images" / "3.png")) > 127
    assert (high - low)[bright].mean() > 1.5 * (high - low)[~bright].mean() > 0


def test_numbers_at_every_pixel(tmp_path):
    random = np.random.default_rng(0)
    for n in range(16):
        picture = random.integers(0, 256, (6, 6)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        for name, array in (("images", picture), ("depth", picture.astype(np.uint16) * 100 + 5000)):
            (tmp_path / "maps" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / "maps" / name / f"{n}.png")
    with Polymath(tmp_path / "store") as knowledge:
        task = knowledge.learn(
            tmp_path / "maps", metric="pearson", work=2, engine="inline", space="heads", cache=str(tmp_path / "cache")
        )
        scores = task.evaluate(tmp_path / "maps")["scores"]
        (answer,) = task.predict(tmp_path / "maps" / "images" / "3.png")
    assert scores["pearson"] > 0.5 and scores["rmse"] < 8000
    assert answer["depth"]["value"].startswith("data:image/tiff;base64,")


def test_new_pictures_with_a_class_that_is_new(learned, tmp_path):
    new = scenes(tmp_path / "new", count=24, seed=1)
    for n in range(24):  # half of the boxes are of another class and colour now
        picture, label = (np.array(Image.open(new / name / f"{n:02d}.png")) for name in ("images", "labels"))
        if n % 2:
            picture[label == 7] = picture[label == 7][:, ::-1]
            label[label == 7] = 9
            label[0, 0] = 8 if n == 1 else label[0, 0]  # one pixel of 20,000 is no class
        Image.fromarray(picture).save(new / "images" / f"{n:02d}.png")
        Image.fromarray(label).save(new / "labels" / f"{n:02d}.png")
    Image.new("L", (20, 12)).save(new / "labels" / "00.png")
    Image.new("RGB", (40, 32)).save(new / "images" / "alone.png")
    with Polymath(learned / "store") as knowledge:
        knowledge.learn(learned / "scenes", name="wider", work=2, engine="inline", space="heads", cache=str(tmp_path))
        task = knowledge.task("wider")
        found = task.refresh(new, work=2, engine="inline", space="heads", cache=str(tmp_path))
        assert found.published and (found.rows_old, found.rows_new) == (18, 23)
        assert found.noticed == ("column 'labels': 1 new: 9; the head is widened",)
        scores = task.evaluate(new)["scores"]
        assert task.record.summary.rows_unused == 2
    assert scores["iou 9"] > 0.7 and scores["iou ground"] > 0.8


def test_masks_without_pictures_to_look_at(tmp_path):
    for n in range(10):
        (tmp_path / "labels").mkdir(exist_ok=True)
        Image.fromarray((np.arange(64).reshape(8, 8) > n).astype(np.uint8)).save(tmp_path / "labels" / f"{n}.png")
    lines = [f"{n},labels/{n}.png" for n in range(10)]
    (tmp_path / "metadata.csv").write_text("\n".join(["heat,mask_file_name", *lines]) + "\n")
    with Polymath(tmp_path / "store") as knowledge, pytest.raises(BadInput, match="no picture to look at"):
        knowledge.learn(tmp_path, target="mask", work=1, engine="inline", cache=str(tmp_path / "cache"))
