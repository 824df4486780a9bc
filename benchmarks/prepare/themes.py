"""Icon themes of Debian as arrays: an icon's class is the folder that its theme keeps it in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from .packages import deb

SIDE = 32
THEMES = {
    "adwaita": ("adwaita-icon-theme", "Adwaita"),
    "elementary": ("elementary-xfce-icon-theme", "elementary-xfce"),
    "faenza": ("faenza-icon-theme", "Faenza"),
    "gnome": ("gnome-icon-theme", "gnome"),
    "mate": ("mate-icon-theme", "mate"),
    "moka": ("moka-icon-theme", "Moka"),
    "obsidian": ("obsidian-icon-theme", "Obsidian"),
    "oxygen": ("oxygen-icon-theme", "oxygen/base"),
    "paper": ("paper-icon-theme", "Paper"),
    "tango": ("tango-icon-theme", "Tango"),
}
"""Ten themes that come as PNG: name -> package, folder. Themes of SVG alone (Papirus, Breeze, Numix) need a renderer."""
KINDS = {"mimes": "mimetypes"} | {
    kind: kind for kind in ("actions", "apps", "categories", "devices", "mimetypes", "places", "status")
}
SIZES = re.compile(r"^(32|48)(x\1)?$")
FEWEST = 16
"""Icons of a folder: with fewer it is no class. The smallest theme has 20 devices and 13 smileys."""
DRAWING = 1
"""Raise when icons are drawn otherwise."""


def themes(*, cache: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Theme -> pictures uint8 [N, 32, 32, 3] on white and classes [N]; read once, then from the cache.

    Links are other names of one icon; an icon whose name stands in two folders, or whose pixels stand in the theme or
    in one before it, is left out: another theme's test must not be known already.
    """
    file = cache / "themes" / f"{SIDE}-{DRAWING}.npz"
    if not file.exists():
        seen: set[bytes] = set()
        found: dict[str, np.ndarray] = {}
        for name in THEMES:
            pictures, kinds = _theme(name, cache=cache, seen=seen)
            found |= {f"{name} pictures": pictures, f"{name} kinds": kinds}
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(file, **found)
    with np.load(file, allow_pickle=False) as held:
        return {name: (held[f"{name} pictures"], held[f"{name} kinds"]) for name in THEMES}


def _theme(name: str, *, cache: Path, seen: set[bytes]) -> tuple[np.ndarray, np.ndarray]:
    package, folder = THEMES[name]
    pictures, kinds = [], []
    for kind, file in _icons(deb(package, cache=cache).folder / "usr" / "share" / "icons" / folder):
        with Image.open(file) as opened:
            layered = opened.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
        picture = np.asarray(flat.resize((SIDE, SIDE), Image.Resampling.BOX))
        if picture.tobytes() not in seen:
            seen.add(picture.tobytes())
            pictures.append(picture)
            kinds.append(kind)
    labels = np.array(kinds)
    counts = dict(zip(*np.unique(labels, return_counts=True), strict=True))
    kept = np.array([counts[kind] >= FEWEST for kind in labels])
    return np.stack(pictures)[kept], labels[kept]


def _icons(root: Path) -> Iterator[tuple[str, Path]]:
    """(class, file) of every icon, of the largest size up to 48."""
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(root.rglob("*.png")):
        parts = file.relative_to(root).parts[:-1]
        kinds = [KINDS[part] for part in parts if part in KINDS]
        if not file.is_symlink() and kinds and any(SIZES.match(part) for part in parts):
            found.setdefault(file.stem, {})[kinds[0]] = file  # 48 comes after 32
    for places in found.values():
        if len(places) == 1:
            yield next(iter(places.items()))
