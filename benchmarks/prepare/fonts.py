"""Scripts of the world as small picture tasks: every letter a class, drawn with the fonts of Debian's fonts-noto-core.

A task is one script. Its test font is one that no training picture was drawn with. Shapes are real, the noise is ours:
size, place, turn and slant differ a little from picture to picture.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .packages import deb

SIDE, DRAWN = 28, 56
"""Pixels of a picture, and of the glyph that is turned, moved and made smaller."""
FEWEST, MOST = 20, 60
"""Letters of a script, accents apart: with fewer it is left out, of more an even choice is taken."""
DRAWING = 2
"""Raise when pictures are drawn otherwise: they are then drawn again."""
TRAINING, TEST = 60, 10
"""Pictures per letter."""
NAMED = re.compile(r" (CAPITAL|SMALL|LETTER|SYLLABLE|SYLLABICS|IDEOGRAPH|CHARACTER|INDEPENDENT|HIGH|LOW|FINAL).*")
STYLES = ("Regular", "Bold", "Italic", "BoldItalic")


@dataclass(frozen=True)
class Script:
    """Pictures [N, 28, 28] and classes [N] of one script, the first examples of every class first."""

    name: str
    classes: int
    fonts: tuple[str, ...]
    """The last one draws the test pictures."""
    training: np.ndarray
    labels: np.ndarray
    test: np.ndarray
    truth: np.ndarray

    def few(self, each: int) -> tuple[np.ndarray, np.ndarray]:
        """The first `each` training pictures of every class."""
        assert each <= TRAINING, f"{each} of {TRAINING}"
        return self.training[: each * self.classes], self.labels[: each * self.classes]


def scripts(*, cache: Path) -> list[Script]:
    """All scripts with two fonts or more, by name; drawn once, then read from the cache."""
    source = deb("fonts-noto-core", cache=cache)
    folder = cache / "scripts" / f"{source.version}-{SIDE}-{DRAWING}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name, fonts, letters in _plan(sorted(source.folder.rglob("*.ttf"))):
            _draw(folder / f"{name}.npz", fonts, letters)
        (folder / "complete").touch()
    return [_read(file) for file in sorted(folder.glob("*.npz"))]


def _read(file: Path) -> Script:
    with np.load(file, allow_pickle=False) as held:
        fonts = tuple(str(font) for font in held["fonts"])
        parts = {name: held[name] for name in ("training", "labels", "test", "truth")}
    return Script(name=file.stem, classes=int(parts["labels"].max()) + 1, fonts=fonts, **parts)


def _plan(files: Sequence[Path]) -> list[tuple[str, list[Path], list[str]]]:
    """Script, its fonts (the test font last), its letters."""
    held: dict[str, dict[Path, set[str]]] = {}
    for file in files:
        if "Display" in file.stem:  # hairlines that are gone at 28 pixels
            continue
        for letter in map(chr, sorted(code_points(file.read_bytes()))):
            if unicodedata.category(letter) in ("Lo", "Lu", "Ll") and not unicodedata.decomposition(letter):
                script = NAMED.sub("", unicodedata.name(letter, "")).lower().replace(" ", "-").replace("'", "")
                held.setdefault(script, {}).setdefault(file, set()).add(letter)
    plans = []
    for script, by_font in sorted(held.items()):
        most = max(map(len, by_font.values()))
        fonts = sorted(font for font, letters in by_font.items() if len(letters) >= 0.7 * most)
        letters = sorted(set.intersection(*(by_font[font] for font in fonts))) if fonts else []
        if len(fonts) >= 2 and len(letters) >= FEWEST:
            plans.append((script, _test_last(fonts), letters))
    return plans


def _test_last(fonts: list[Path]) -> list[Path]:
    """Six fonts at most; the test font is of another family where there is one, else the bold one."""
    regular = [font for font in fonts if font.stem.endswith("-Regular")]
    families = sorted(regular, key=lambda font: (not font.stem.startswith("NotoSans"), font.stem))
    test = families[-1] if len(families) > 1 else next(font for font in fonts if font not in regular)
    own = test.stem.split("-")[0]
    rest = [f for f in fonts if f.stem.split("-")[0] != own] if len(families) > 1 else [f for f in fonts if f != test]
    return [*rest[:5], test]


def code_points(data: bytes) -> set[int]:
    """Characters that a TrueType font has a glyph for: its cmap in format 4 or 12."""
    tables = {data[at : at + 4]: struct.unpack(">I", data[at + 8 : at + 12])[0] for at in _records(data)}
    cmap = tables[b"cmap"]
    found: set[int] = set()
    (count,) = struct.unpack(">H", data[cmap + 2 : cmap + 4])
    for n in range(count):
        start = cmap + struct.unpack(">I", data[cmap + 4 + 8 * n + 4 : cmap + 4 + 8 * n + 8])[0]
        (form,) = struct.unpack(">H", data[start : start + 2])
        if form == 12:
            (groups,) = struct.unpack(">I", data[start + 12 : start + 16])
            for group in range(groups):
                at = start + 16 + 12 * group
                first, last, _ = struct.unpack(">III", data[at : at + 12])
                found.update(range(first, last + 1))
        elif form == 4:
            (twice,) = struct.unpack(">H", data[start + 6 : start + 8])
            ends = struct.unpack(f">{twice // 2}H", data[start + 14 : start + 14 + twice])
            begins = struct.unpack(f">{twice // 2}H", data[start + 16 + twice : start + 16 + 2 * twice])
            for begin, end in zip(begins, ends, strict=True):
                found.update(range(begin, min(end, 0xFFFE) + 1))
    return found


def _records(data: bytes) -> range:
    return range(12, 12 + 16 * struct.unpack(">H", data[4:6])[0], 16)


def _draw(file: Path, fonts: list[Path], letters: list[str]) -> None:
    """Draws a script; letters that look alike in the first font are one."""
    glyphs = {letter: [_glyph(font, letter) for font in fonts] for letter in letters}
    different: dict[bytes, str] = {}
    for letter, drawn in glyphs.items():
        if all(one.getextrema()[1] > 0 for one in drawn):
            different.setdefault(drawn[0].resize((14, 14)).tobytes(), letter)
    chosen = sorted(different.values())
    if len(chosen) < FEWEST:
        return
    chosen = [chosen[n] for n in np.unique(np.linspace(0, len(chosen) - 1, MOST).astype(int))]
    random = np.random.default_rng([len(chosen), ord(chosen[0])])
    known = np.stack(
        [_varied(glyphs[letter][n % (len(fonts) - 1)], random) for n in range(TRAINING) for letter in chosen]
    )
    asked = np.stack([_varied(glyphs[letter][-1], random) for _ in range(TEST) for letter in chosen])
    names = np.array([font.stem for font in fonts])
    classes = np.arange(len(chosen))
    np.savez_compressed(
        file, training=known, labels=np.tile(classes, TRAINING), test=asked, truth=np.tile(classes, TEST), fonts=names
    )


def _glyph(font: Path, letter: str) -> Image.Image:
    """The letter in the middle, as large as fits beside a margin; wide ones are made smaller."""
    size = 38
    while size > 8:
        face = ImageFont.truetype(str(font), size)
        left, top, right, bottom = face.getbbox(letter)
        if max(right - left, bottom - top) <= DRAWN - 10:
            break
        size -= 4
    picture = Image.new("L", (DRAWN, DRAWN))
    middle = ((DRAWN - left - right) / 2, (DRAWN - top - bottom) / 2)
    ImageDraw.Draw(picture).text(middle, letter, fill=255, font=face)
    return picture


def _varied(glyph: Image.Image, random: np.random.Generator) -> np.ndarray:
    """A little larger or smaller, moved, turned and slanted."""
    angle, slant = np.deg2rad(random.uniform(-8, 8)), random.uniform(-0.12, 0.12)
    scale = 1 / random.uniform(0.85, 1.12)
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1.0, slant], [0.0, 1.0]])
    centre = DRAWN / 2
    offset = centre - matrix @ np.array([centre, centre]) + random.uniform(-4, 4, 2)
    a, b, d, e = (float(one) for one in matrix.ravel())
    moved = glyph.transform(
        (DRAWN, DRAWN),
        Image.Transform.AFFINE,
        (a, b, float(offset[0]), d, e, float(offset[1])),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(moved.reduce(DRAWN // SIDE), dtype=np.uint8)
