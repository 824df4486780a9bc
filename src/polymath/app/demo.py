"""`python3 dev.py demo`: the main job on real data that ships with a dependency, as a newcomer would do it."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from . import commands, main, terminal
from .cli import root

HELD_OUT = 8
"""Images that learning never sees, not even as its own test."""


def write_digits(folder: Path) -> tuple[Path, Path]:
    """The 1,797 handwritten digits of scikit-learn as PNG files: a folder of class folders, and a folder to predict."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    held = set(np.random.default_rng(0).choice(len(digits.target), HELD_OUT, replace=False).tolist())
    known, unknown = folder / "digits", folder / "unseen"
    unknown.mkdir(parents=True)
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        place = (
            unknown / f"this-is-a-{label}-{number:04d}.png"
            if number in held
            else known / str(label) / f"{number:04d}.png"
        )
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.round(image * 255 / 16).astype(np.uint8)).save(place)
    return known, unknown


def demo(budget: str = "60s") -> None:
    """Learn the digits, show what came out, predict images it has not seen, say what to try next."""
    folder = Path(tempfile.gettempdir()) / "polymath-demo"
    shutil.rmtree(folder, ignore_errors=True)
    known, unknown = write_digits(folder)
    store, page = folder / "knowledge", Path("polymath-demo.html")
    terminal.say(f"1,797 real digit images are now in {known}. Learning them, as you would:\n")
    terminal.say(f"$ polymath learn {known} --budget {budget} --store {store}\n")
    root.BEGIN = time.monotonic()  # the command begins here
    main.app(["learn", str(known), "--budget", budget, "--store", str(store)], standalone_mode=False)
    terminal.say(f"\n$ polymath predict digits {unknown} --store {store}      ({HELD_OUT} images it has never seen)\n")
    began = time.monotonic()
    for name, answer in zip(
        sorted(p.name for p in unknown.iterdir()), commands.answers("digits", unknown, store=store), strict=True
    ):
        value, probability = answer["label"]["value"], answer["label"]["probability"]
        sys.stdout.write(f"{name}: {value} ({probability:.1%} sure)\n")
    terminal.say(f"({time.monotonic() - began:.1f} s)\n\n$ polymath report digits --store {store} --out {page}\n")
    commands.report("digits", out=page, store=store, as_json=False)
    terminal.say(
        f"\nOpen {page.absolute()} in a browser. Then try your own data:\n"
        "  .venv/bin/polymath learn YOUR.csv --target COLUMN --budget 2m\n"
        "  .venv/bin/polymath learn YOUR_FOLDER_OF_CLASS_FOLDERS --budget 10m     (images or text files)"
    )


if __name__ == "__main__":
    demo(*sys.argv[1:2])
