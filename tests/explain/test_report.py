"""The page: complete, self-contained, safe whatever stands in the data, honest about what is no longer there."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import ClassVar

import numpy as np
import pytest

from polymath.explain import write_report
from polymath.explain.markup import EMPTY
from polymath.explain.page import PARTS
from polymath.problem import Dataset
from polymath.search import Trace
from polymath.spec import BadInput


class Reader(HTMLParser):
    """Checks that elements nest, and gathers what a test asks for."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.elements: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.elements.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[key] for key in ("src", "href", "xlink:href", "srcset", "action") if key in given]
        assert not any(key.startswith("on") for key in given), f"{tag} has a handler"
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in EMPTY:
            assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(task, cache, tmp_path):
    return Reader(task.report(tmp_path / "report.html", cache=cache).read_text(encoding="utf-8"))


@pytest.mark.parametrize("which", ["mixed", "pictures"])
def test_page_is_whole_and_needs_nothing_else(which, request, tmp_path):
    task, cache = request.getfixturevalue(which)
    page = read(task, cache, tmp_path)
    assert set(page.ids) == {name for name, _ in PARTS}
    assert len(page.ids) == len(set(page.ids))
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.elements)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    css = (tmp_path / "report.html").read_text(encoding="utf-8").split("<style>")[1].split("</style>")[0]
    assert "url(" not in css
    assert "@import" not in css


def test_names_and_values_cannot_become_markup(mixed, tmp_path):
    task, cache = mixed
    page = read(task, cache, tmp_path)
    assert "forest & <script>alert(1)</script>" in page.text
    assert '<b>oak</b> & "co"' in page.text
    assert "kind<i>" in page.text


def test_every_kind_of_output_gets_its_evidence(mixed, tmp_path):
    task, cache = mixed
    text = read(task, cache, tmp_path).text
    for words in (
        "Confusion",
        "Reliability",
        "Class by class",
        "Label by label",
        "Predicted against true",
        "Intervals",
    ):
        assert words in text, words
    tested = len(Dataset.open(cache / "data" / task.record.origin["dataset"]).test)
    assert f"% of the {tested} rows it had never seen" in text


def test_what_was_tried_and_not_used_is_told(mixed, tmp_path):
    task, cache = mixed
    text = read(task, cache, tmp_path).text
    for row in task.leaderboard():
        assert str(row["what"])[:60] in text
    reason = next(one.reason for one in task.predictor.problem.ignored if one.column == "constant")
    assert reason in text
    assert "always the same answer" in text


def test_failures_name_their_reason(mixed, tmp_path):
    task, cache = mixed

    class Died:
        number, rung, label, generator, ok, score, work, seconds = 99, 0, "a net", "random", False, None, 1.0, 2.0
        outcome: ClassVar = {"reason": "Traceback ...\nloss is not a number at <step> 3"}
        trace = Trace()

    write_report(task.store, task.record, tmp_path / "r.html", entries=[Died()], cache=cache)
    text = Reader((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert "loss is not a number at <step> 3" in text


def test_mistakes_show_their_inputs_while_the_cache_has_them(pictures, tmp_path):
    task, cache = pictures
    shown = read(task, cache, tmp_path)
    tested = Dataset.open(cache / "data" / task.record.origin["dataset"]).test
    wrong = round((1 - task.record.scores["test"]["label"]["accuracy"]) * len(tested))
    assert shown.elements.count("img") == min(12, wrong) > 0
    gone = read(task, tmp_path / "no cache", tmp_path)
    assert gone.elements.count("img") == 0
    assert "no longer in the cache" in gone.text


def test_rows_and_texts_are_shown_as_they_were(mixed, tmp_path):
    task, cache = mixed
    text = read(task, cache, tmp_path).text
    assert re.search(r"(warm|cold) day number \d+ of <script>", text)
    assert re.search(r"when 202[0-2]-\d\d-\d\d", text)
    assert "missing" in text


def test_evidence_holds_answers_and_truth_of_the_test_rows_and_no_inputs(mixed):
    task, cache = mixed
    found = task.store.get_tensors(task.record.evidence)
    outputs = ("tree", "tags", "height")
    assert set(found) == {"row", *(f"{part}/{name}" for part in ("output", "target") for name in outputs)}
    dataset = Dataset.open(cache / "data" / task.record.origin["dataset"])
    np.testing.assert_array_equal(found["row"], dataset.test)
    np.testing.assert_array_equal(found["target/tree"], dataset.targets["tree"][dataset.test])
    feature = task.predictor.problem.output("tree")
    again = feature.scores(found["output/tree"], found["target/tree"])
    assert again["accuracy"] == pytest.approx(task.record.scores["test"]["tree"]["accuracy"])


def test_a_task_still_being_learned_has_a_page_too(mixed, tmp_path):
    task, cache = mixed
    scores = {"validation": task.record.scores["validation"]}
    summary = task.record.summary.replace(test=None, interval=None)
    record = task.record.replace(state="learning", evidence=None, scores=scores, summary=summary)
    write_report(task.store, record, tmp_path / "r.html", cache=cache)
    text = Reader((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert "still learning" in text
    assert "flatter" in text
    assert "has none yet" in text


def test_a_page_that_cannot_be_written_says_where(mixed, tmp_path):
    task, _ = mixed
    with pytest.raises(BadInput, match="no folder"):
        task.report(tmp_path / "no folder" / "r.html")
    assert not list(tmp_path.iterdir())


def test_same_task_same_page(mixed, tmp_path):
    task, cache = mixed
    pages = [task.report(tmp_path / name, cache=cache).read_bytes() for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]


def test_a_large_ensemble_is_drawn_member_by_member(mixed, tmp_path):
    from polymath.model.layers.ensemble import Ensemble
    from polymath.model.layers.scale import Scale
    from polymath.model.path import Gene, Path

    task, cache = mixed
    genes = []
    for member in (3, 8):
        for fold in range(5):
            source = "in:row"
            for step in range(4):
                name = f"e{member}f{fold}.step{step}"
                genes.append(Gene(name=name, layer=Scale(factor=1.0), inputs=(source,)))
                source = name
    ends = tuple(gene.name for gene in genes if gene.name.endswith("step3"))
    genes.append(Gene(name="out.tree", layer=Ensemble(combine="values", weights=(0.1,) * 10), inputs=ends))
    path = Path(genes=tuple(genes), outputs={"tree": "out.tree"})
    record = task.record.replace(path=path.model_dump(mode="json"))
    write_report(task.store, record, tmp_path / "r.html", cache=cache)
    text = Reader((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert "20 genes in 5 folds" in text
    assert "Inside member 8: 4 genes, the same in 5 folds" in text
