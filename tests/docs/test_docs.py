"""What the pages say is true: Python examples run, commands and options that they name exist and are all named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the data that the examples speak of."""
    generator = np.random.default_rng(0)
    lines = ["area,rooms,street,price"]
    for _ in range(120):
        area, rooms, street = (
            generator.uniform(40, 200),
            generator.integers(1, 7),
            generator.choice(["Elm", "Oak", "Main"]),
        )
        lines.append(f"{area:.1f},{rooms},{street},{1000 * area + 5000 * rooms + 20000 * (street == 'Elm'):.0f}")
    (tmp_path / "houses.csv").write_text("\n".join(lines) + "\n")
    for label, colour in (("rose", (200, 30, 60)), ("tulip", (230, 200, 40))):
        (tmp_path / "flowers" / label).mkdir(parents=True)
        for number in range(20):
            pixels = np.clip(generator.normal(colour, 40, (12, 12, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "flowers" / label / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_examples_run(page: Path, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"__name__": "example"}
    for block in blocks(page, "python"):
        if file := re.match(r"# (\w+\.py)\n", block):  # a file of the reader's, which later examples import
            Path(file[1]).write_text(block)
            continue
        exec(compile(block, str(page), "exec"), names)
    promised = re.findall(r"^print\(.*\)\s+# (\w+)$", "\n".join(blocks(page, "python")), re.MULTILINE)
    printed = capsys.readouterr().out
    for word in promised:
        assert re.search(rf"^{word}$", printed, re.MULTILINE), f"the page says {word}, the example printed:\n{printed}"


def commands() -> dict[str, set[str]]:
    """Command -> its long options."""
    import typer

    from polymath.app.main import app

    group = typer.main.get_command(app)
    return {
        name: {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }


def test_every_command_and_option_is_documented() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    for name, options in commands().items():
        assert f"`polymath {name}" in page, f"docs/commands.md does not name `polymath {name}`"
        for option in options - {"--help"}:
            assert f"`{option}" in page, f"docs/commands.md does not name {option} of `polymath {name}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_pages_name_exist(page: Path) -> None:
    known = commands()
    for name, rest in re.findall(r"polymath (?!-)([a-z]+)\b([^\n`]*)", page.read_text()):
        if not re.search(r"--\w", rest) and name not in known:
            continue  # prose
        assert name in known, f"{page.name} speaks of `polymath {name}`"
        for option in re.findall(r"(--[a-z][a-z-]+)", rest.split("#")[0]):
            assert option in known[name], f"{page.name}: `polymath {name}` has no {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
