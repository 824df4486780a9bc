"""Folders of pictures with a mask for each: images/ beside labels/, x.png beside x_mask.png, or a mask per class."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ...spec import BadInput
from .folders import SPLITS, unusable
from .rows import Tally
from .walk import File

PICTURES = frozenset(("image", "images", "img", "imgs", "jpegimages", "rgb", "photo", "photos", "input", "inputs"))
"""Names of folders that hold pictures."""
MASKS = (
    *("labels", "label", "masks", "mask", "gt", "groundtruth", "ground_truth", "annotations", "annotation", "annot"),
    *("segmentationclass", "segmentations", "segmentation", "seg", "depth", "depths", "targets", "target", "output"),
)
"""Names of folders that hold a mask, or a map of numbers, for each of the pictures beside them."""
ENDING = re.compile(r"(?i)[ ._-](mask|masks|label|labels|labelids|gt|seg|segmentation|annotation|depth|target|L)$")
"""What the name of a mask has behind that of its picture."""
PICTURE_ENDING = re.compile(r"(?i)[._-](image|img|rgb|photo|input|sat|leftImg8bit)$")
CLASS_FILES = frozenset(("classes", "class_names", "classnames", "labels", "codes", "label_colors", "label_colours"))
"""Names, without their endings, of files that name the classes."""
ENOUGH = 0.5
"""Share of the masks that must find their picture, or this is no folder of pairs."""


@dataclass(frozen=True)
class Pairs:
    """Pictures and their masks: one row each."""

    table: pa.Table
    mask: str
    """Column of the masks."""
    files: tuple[str, ...]
    """The picture of each row."""
    named: tuple[File, ...]
    """Every file that was used."""
    given_split: str | None
    classes: tuple[tuple[int, str], ...]
    """Mask value and name of each class, where a file says so."""


@dataclass(frozen=True)
class _Side:
    """One file as half of a pair: what it shares with the other half."""

    file: File
    key: tuple[str, ...]


def pairs(files: Sequence[File], *, folder: Path, tally: Tally) -> Pairs | None:
    """Pairs of pictures and masks below a folder; None where there are none. What finds no partner is counted."""
    pictures = [file for file in files if file.kind == "image" and file.size]
    found = _by_folders(pictures) or _by_names(pictures)
    if found is None:
        return None
    name, images, masks = found
    by_key = {side.key: side for side in images}
    whole = {side.key: side.file for side in masks if side.key in by_key}
    parts = _by_class(masks, by_key) if len(whole) < ENOUGH * len(masks) else {}
    if sum(map(len, parts.values())) + len(whole) < ENOUGH * len(masks):
        return None
    if parts:
        whole = {}
    keys = sorted(parts or whole)
    used = {file.path for file in whole.values()} | {file.path for one in parts.values() for _, file in one}
    used |= {by_key[key].file.path for key in keys}
    ours = {side.file.path: "mask without a picture" for side in masks}
    for side in images:
        known = by_key[side.key].file.path in used
        ours[side.file.path] = "another picture of the same name" if known else "picture without a mask"
    for file in files:
        if file.path not in used and not _names_classes(file):
            outside = ours.get(file.path, "lies outside the folders of pictures and masks")
            tally.row(file.path, None, unusable(file, "image") or outside)
    paths = tuple(by_key[key].file.path for key in keys)
    columns = {"image": pa.array(paths, pa.string())}
    if parts:
        values = [[(word, file.path) for word, file in sorted(parts[key])] for key in keys]
        columns[name] = pa.array(values, pa.map_(pa.string(), pa.string()))
    else:
        columns[name] = pa.array([whole[key].path for key in keys], pa.string())
    split = _splits(keys)
    if split:
        columns["split"] = pa.array(split, pa.string())
    named = tuple(file for file in files if file.path in used)
    classes = _classes(files, folder, tally)
    return Pairs(pa.table(columns), name, paths, named, "split" if split else None, classes)


def _by_folders(pictures: Sequence[File]) -> tuple[str, list[_Side], list[_Side]] | None:
    """A folder of pictures beside one of masks: what comes before and after these names must be the same."""
    names = Counter(part.lower() for file in pictures for part in file.parts[:-1])
    mask = next((word for word in MASKS if names[word]), None)
    if mask is None or not any(names[word] for word in PICTURES):
        return None

    def side(
        file: File, words: Iterable[str], ending: re.Pattern[str], keys: Container[tuple[str, ...]]
    ) -> _Side | None:
        place = next((n for n, part in enumerate(file.parts[:-1]) if part.lower() in words), None)
        if place is None:
            return None
        parts = (*file.parts[:place], *file.parts[place + 1 : -1])
        whole = (*parts, _stem(file))
        return _Side(file, whole if whole in keys else (*parts, ending.sub("", _stem(file))))

    images = [one for file in pictures if (one := side(file, PICTURES, PICTURE_ENDING, ()))]
    taken, keys = {one.file.path for one in images}, {one.key for one in images}
    masks = [one for file in pictures if file.path not in taken and (one := side(file, (mask,), ENDING, keys))]
    return (mask, images, masks) if images and masks else None


def _by_names(pictures: Sequence[File]) -> tuple[str, list[_Side], list[_Side]] | None:
    """Masks that lie beside their pictures and are called like them with a word behind."""
    words = Counter(match[1].lower() for file in pictures if (match := ENDING.search(_stem(file))))
    for word, count in words.most_common():
        end = re.compile(rf"(?i)[ ._-]?{word}$") if len(word) > 1 else re.compile(rf"_{word.upper()}$")
        masks = [file for file in pictures if end.search(_stem(file)) and end.sub("", _stem(file))]
        taken = {file.path for file in masks}
        plain = [
            _Side(file, (*file.parts[:-1], PICTURE_ENDING.sub("", _stem(file))))
            for file in pictures
            if file.path not in taken
        ]
        sides = [_Side(file, (*file.parts[:-1], end.sub("", _stem(file)))) for file in masks]
        keys = {side.key for side in plain}
        if count >= 2 and sum(side.key in keys for side in sides) >= 0.8 * max(len(sides), len(plain) // 2):
            return (word if len(word) > 1 else "label"), plain, sides
    return None


def _by_class(masks: Sequence[_Side], images: dict[tuple[str, ...], _Side]) -> dict[tuple[str, ...], list[_Part]]:
    """Masks of one class each: masks/CLASS/x.png, or masks/x_CLASS.png."""
    found: dict[tuple[str, ...], list[_Part]] = defaultdict(list)
    for side in masks:
        folder, name = side.key[:-1], _stem(side.file)
        if folder and (*folder[:-1], side.key[-1]) in images:
            found[(*folder[:-1], side.key[-1])].append((folder[-1], side.file))
            continue
        cuts = [place for place, letter in enumerate(name) if letter in "_-. "]
        for cut in reversed(cuts):  # the longest name of a picture that this one begins with
            if (*folder, name[:cut]) in images and name[cut + 1 :]:
                found[(*folder, name[:cut])].append((name[cut + 1 :], side.file))
                break
    return dict(found) if len({word for parts in found.values() for word, _ in parts}) <= 250 else {}


_Part = tuple[str, File]


def _stem(file: File) -> str:
    return file.parts[-1].rpartition(".")[0]


def _splits(keys: Sequence[tuple[str, ...]]) -> list[str] | None:
    """The split of every pair, where the outermost or innermost folders are called train and test."""
    for place in (0, -2):
        words = [SPLITS.get(key[place].lower()) if len(key) > 1 else None for key in keys]
        if None not in words and "train" in words and len(set(words)) > 1:
            return [str(word) for word in words]
    return None


def _names_classes(file: File) -> bool:
    return file.kind in ("table", "text") and _stem(file).lower() in CLASS_FILES and 0 < file.size < 1_000_000


def _classes(files: Sequence[File], folder: Path, tally: Tally) -> tuple[tuple[int, str], ...]:
    """Mask values and names of the classes from a file that lists them, outermost first."""
    for file in sorted(files, key=lambda one: len(one.parts)):
        if _names_classes(file):
            found = class_list(Path(file.path).read_text(encoding="utf-8-sig", errors="replace"))
            if found:
                tally.note(f"{'/'.join(file.parts)} names {len(found)} classes.")
                return found
            raise BadInput(
                "this should name the classes and cannot be read",
                file=folder / Path(*file.parts),
                remedy="One class a line: its mask value, a comma, its name; or one name a line, counted from 0.",
            )
    return ()


def class_list(text: str) -> tuple[tuple[int, str], ...]:
    """(mask value, name) of every line: `3,car`, `car` (counted from 0), or `64 0 128 car` for a colour.

    A colour has the value `COLOUR` of `features/_masks.py` plus red, green and blue. () if a line is none of these.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip(" ,;\t") and not line.lstrip().startswith("#")]
    cells = [[cell.strip().strip('"') for cell in re.split(r"[,;\t]| (?=\d)|(?<=\d) +", line)] for line in lines]
    cells = [[cell for cell in row if cell] for row in cells]
    if (
        cells
        and not any(cell.isdecimal() for cell in cells[0])
        and any(c.isdecimal() for row in cells[1:] for c in row)
    ):
        cells = cells[1:]  # a header
    found: list[tuple[int, str]] = []
    for place, row in enumerate(cells):
        numbers = [int(cell) for cell in row if cell.isdecimal()]
        words = [cell for cell in row if not cell.isdecimal()]
        if len(words) > 1 or len(numbers) not in (0, 1, 3, 4):
            return ()
        name = words[0] if words else str(numbers[0])
        if len(numbers) >= 3:
            red, green, blue = numbers[-3:]
            found.append(((1 << 24) + red * 65536 + green * 256 + blue, name))
        else:
            found.append((numbers[0] if numbers else place, name))
    values = [value for value, _ in found]
    return tuple(found) if len(set(values)) == len(values) and len(found) > 1 else ()
