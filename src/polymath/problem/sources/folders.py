"""Folders as rows: class folders, a metadata file that names files, tables with their split, or files without labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ...spec import BadInput, printable
from .rows import Tally
from .walk import File

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of folders, files and cells that say to which split something belongs."""
METADATA = "metadata"


@dataclass(frozen=True)
class Listing:
    """What a folder of files comes to: one file per row."""

    columns: dict[str, pa.Array]
    kind: str
    files: tuple[str, ...]
    given_split: str | None
    target_hint: str | None


def listing(files: Sequence[File], *, folder: Path, tally: Tally) -> Listing:
    """Rows for the files of a folder without tables. Raises BadInput when there is nothing to learn from."""
    kind = main_kind(files, folder)
    split_depth = has_splits(files)
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
    if split_depth:
        columns["split"] = pa.array(splits, pa.string())
    return Listing(columns, kind, paths, "split" if split_depth else None, "label" if labelled else None)


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
    """1 when the outermost folders are splits (train among them), else 0."""
    outer = {file.parts[0].lower() for file in files if len(file.parts) > 1}
    names = {SPLITS.get(name) for name in outer}
    return int("train" in names and len(names - {None}) >= 2 and None not in names)


def class_counts(labels: Sequence[str]) -> str:
    """The classes for an error message."""
    return ", ".join(f"{printable(label)} ({count})" for label, count in Counter(labels).most_common(5))
