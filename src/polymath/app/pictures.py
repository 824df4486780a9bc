"""Answers that are pictures, as files: a mask or a map of numbers for each picture, called like it."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..spec import BadInput

START = "data:image/"
ENDINGS = {"png": ".png", "tiff": ".tif"}


def is_picture(value: object) -> bool:
    """Whether a value is a picture in a data URL."""
    return isinstance(value, str) and value.startswith(START)


def write(answers: Sequence[Mapping[str, Any]], names: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """Writes every picture among the answers below `folder`, in a folder per output where these are several.

    `names`: of the files, without their endings; the ends of intervals have `_low` and `_high` behind. Gives the
    answers with the path of its file for each picture. Raises BadInput.
    """
    told = [answer for answer in answers if "error" not in answer and "gated" not in answer]
    several = len({output for answer in told for output in answer}) > 1
    result: list[dict[str, Any]] = [dict(answer) for answer in answers]
    for answer, name in zip(result, names, strict=True):
        for output, found in answer.items():
            pictures = {key: one for key, one in found.items() if is_picture(one)} if isinstance(found, Mapping) else {}
            for key, value in pictures.items():
                head, _, content = str(value).partition(";base64,")
                ending = ENDINGS.get(head.removeprefix(START), ".png")
                behind = "" if key == "value" else f"_{key}"
                place = folder / (output if several else "") / f"{name}{behind}{ending}"
                answer[output] = {**answer[output], key: _written(base64.b64decode(content), place, folder)}
    return result


def _written(content: bytes, place: Path, folder: Path) -> str:
    """Writes a file and says where."""
    if not place.resolve().is_relative_to(folder.resolve()):  # a column or a path that somebody else named
        raise BadInput("lies outside of the folder", file=place, remedy="Write one .jsonl file instead.")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    except OSError as error:
        raise BadInput(f"cannot be written: {error.strerror}", file=place, remedy="Name another folder.") from None
    return str(place)


def names_of(paths: Sequence[str | None]) -> list[str]:
    """A name for every row: where its picture lies below what all have in common; numbers where there is no path."""
    known = [path for path in paths if path]
    if len(known) < len(paths) or not known:
        return [f"{row:06d}" for row in range(1, len(paths) + 1)]
    base = os.path.commonpath([os.path.dirname(path) for path in known])
    stems = [os.path.splitext(os.path.relpath(path, base))[0] for path in known]
    return stems if len(set(stems)) == len(stems) else [f"{row:06d}-{stem}" for row, stem in enumerate(stems, 1)]
