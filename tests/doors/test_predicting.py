"""A prediction starts quickly because it loads only what predicting needs."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

GOLDEN = Path(__file__).parent.parent / "golden" / "store-0.1.0.tar.gz"
NOT_NEEDED = ("pandas", "polars", "sklearn", "scipy", "rich", "sentencepiece")
NOT_NEEDED_ROOMS = ("train", "search", "learning", "explain", "estimators", "engine", "testing")
COMMAND = """
import json, sys
from polymath.app.main import main
sys.argv = ["polymath", "predict", "flowers", sys.argv[1], "--store", sys.argv[2], "--json"]
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)))
"""


def test_predicting_loads_no_search_no_training_and_no_package_it_does_not_need(tmp_path: Path) -> None:
    with tarfile.open(GOLDEN) as tar:
        tar.extractall(tmp_path, filter="data")
    rows = [{**row, "note": ""} for row in json.loads((tmp_path / "rows.json").read_text())]  # words need sentencepiece
    (tmp_path / "one.jsonl").write_text(json.dumps(rows[0]))
    words = [sys.executable, "-c", COMMAND, str(tmp_path / "one.jsonl"), str(tmp_path / "store")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer, loaded = map(json.loads, done.stdout.splitlines())
    assert answer["predictions"][0]["target"]["value"] == "setosa"
    assert "torch" in loaded
    assert not [name for name in NOT_NEEDED if name in loaded]
    rooms = {name.split(".")[1] for name in loaded if name.startswith("polymath.")}
    assert not [room for room in NOT_NEEDED_ROOMS if room in rooms]
