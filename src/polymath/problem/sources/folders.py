"""Folders as rows: class folders, a metadata file that names files, tables by split, or files without labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ...spec import BadInput
from .rows import Tally
from .walk import File

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of folders, files and cells that say to which split something belongs."""
METADATA = "metadata"
ORDER = ("", "train", "validation", "test")


@dataclass(frozen=True)
class Listing:
    """What a folder of files comes to: one file per row."""

    columns: dict[str, pa.Array]
    kind: str
    files: tuple[str, ...]
    given_split: str | None
    target_hint: str | None


@dataclass(frozen=True)
class Layout:
    """Which tables of a folder are read, with the split each belongs to ('' where there are none)."""

    tables: tuple[tuple[str, File], ...]
    media: tuple[File, ...]
    left_out: tuple[File, ...]


def layout(files: Sequence[File]) -> Layout:
    """Which tables matter: metadata files, else files named train and test, else all; beside media only outer ones."""
    tables = [file for file in files if file.kind == "table"]
    media = tuple(file for file in files if file.kind in ("image", "text"))
    named = [file for file in tables if stem(file) == METADATA]
    chosen = named or [file for file in tables if not media or len(file.parts) == 1]
    words = {file.path: split_of(file) for file in chosen}
    if "train" in words.values() and not named:
        chosen = [file for file in chosen if words[file.path]]
    if not ("train" in words.values() and len(set(words.values())) > 1):
        words = dict.fromkeys(words, "")
    ordered = sorted(chosen, key=lambda file: (ORDER.index(words[file.path]), file.parts))
    left_out = tuple(file for file in tables if file not in chosen)
    return Layout(tuple((words[file.path], file) for file in ordered), media, left_out)


def stem(file: File) -> str:
    """Name of a file without any of its endings, in small letters."""
    return file.parts[-1].lower().partition(".")[0]


def split_of(file: File) -> str:
    """'train', 'validation' or 'test' by the name of a file (train.csv, test-00000-of-00002.parquet) or its folder."""
    word = re.match(r"[a-z]*", stem(file))
    found = SPLITS.get(word.group() if word else "", "")
    return found or (SPLITS.get(file.parts[-2].lower(), "") if len(file.parts) > 1 else "")


def listing(files: Sequence[File], *, folder: Path, tally: Tally) -> Listing:
    """Rows for the files of a folder without tables. Raises BadInput when there is nothing to learn from."""
    kind = main_kind(files, folder)
    split_depth = has_splits([file for file in files if not unusable(file, kind)])
    kept, classes, splits = [], [], []
    labelled = any(len(file.parts) > split_depth + 1 for file in files)
    for file in files:
        if reason := unusable(file, kind):
            tally.row(file.path, None, reason)
        elif split_depth and file.parts[0].lower() not in SPLITS:
            tally.row(file.path, None, "lies outside the train and test folders")
        elif labelled and len(file.parts) <= split_depth + 1:
            tally.row(file.path, None, "lies in no class folder")
        else:
            kept.append(file)
            classes.append(file.parts[split_depth] if labelled else None)
            splits.append(SPLITS[file.parts[0].lower()] if split_depth else None)
    if not kept:
        raise BadInput(f"no {kind} file in the folder can be used", file=folder, remedy=FOLDER_REMEDY)
    paths = tuple(file.path for file in kept)
    columns = {kind: pa.array(paths, pa.string())}
    if labelled:
        columns["label"] = pa.array(classes, pa.string())
    given = len(set(splits)) > 1
    if given:
        columns["split"] = pa.array(splits, pa.string())
    return Listing(columns, kind, paths, "split" if given else None, "label" if labelled else None)


FOLDER_REMEDY = (
    "Give a folder with one sub-folder of images or text files per class, or with a metadata.csv "
    "whose column file_name names the files, or with train.csv and test.csv."
)


def main_kind(files: Sequence[File], folder: Path) -> str:
    """'image' or 'text': what most files are. Files with unknown endings count as text if they look like it."""
    counts = Counter(file.kind for file in files)
    if counts["image"] >= max(counts["text"], 1):
        return "image"
    if counts["text"]:
        return "text"
    others = [file for file in files if file.kind == "other" and file.size]
    if others and all(looks_like_text(Path(file.path)) for file in others[:: max(1, len(others) // 20)]):
        return "text"
    raise BadInput("the folder holds no images, texts or tables", file=folder, remedy=FOLDER_REMEDY)


def looks_like_text(path: Path) -> bool:
    """Whether the first bytes of a file hold no control characters that texts do not hold."""
    with path.open("rb") as file:
        head = file.read(4_096)
    return not any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head)


def unusable(file: File, kind: str) -> str:
    """Why a file of a folder of `kind` files is not used; "" if it is."""
    if file.size == 0:
        return "file is empty"
    if kind == "image" and file.kind != "image":
        return "not an image"
    if kind == "text" and file.kind in ("image", "table"):
        return "not a text file"
    return ""


def has_splits(files: Sequence[File]) -> int:
    """1 when the outermost folders are splits (train among them, or alone around several classes), else 0."""
    outer = {file.parts[0].lower() for file in files if len(file.parts) > 1}
    names = {SPLITS.get(name) for name in outer}
    classes = {file.parts[1] for file in files if len(file.parts) > 2}
    return int("train" in names and None not in names and (len(names) >= 2 or len(classes) >= 2))
