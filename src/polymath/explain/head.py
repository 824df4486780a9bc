"""The top of a report: how good the task is, in one sentence, in numbers, and beside simple methods."""

from __future__ import annotations

from collections.abc import Mapping

from ..problem.features import Category, Feature, Graded, Labels, Number
from ..problem.metrics import skill
from .chart import nice_ticks, spread
from .markup import Html, amount, duration, figure, join, metric_name, number, score, section, table, tag, text
from .material import Material, Tried

SIMPLE = {
    "constant": "always the same answer",
    "nearest": "nearest neighbours",
    "linear": "linear model",
    "ngrams": "words, linear",
    "letters": "letters of words, linear",
    "patches": "image patches, linear",
    "linear on oriented gradients": "edges of pictures, linear",
    "forest": "random forest",
    "trees": "boosted trees",
}
"""The cheap heads, as people call them: what a task has to beat."""
WORDS = ((0.9, "very well"), (0.6, "well"), (0.3, "fairly well"), (0.05, "a little better than guessing"))
"""Skill (0 = best constant, 1 = perfect) in words."""


EXPLAINED = {"skill": "; 0 = the best constant, 1 = perfect"}
"""What some metrics mean, where their name alone does not say it."""


def head(material: Material) -> Html:
    """Title, verdict and the main numbers."""
    record = material.record
    outputs = ", ".join(text(feature.name) for feature in material.problem.outputs)
    state = {"learning": " · still learning", "stopped": " · stopped before its budget was spent"}.get(record.state, "")
    return join(
        [
            tag("p", f"Polymath report · predicts {outputs}{state}", class_="over"),
            tag("h1", record.name),
            *(tag("p", verdict(material, feature), class_="lead") for feature in material.problem.outputs),
            *(tag("p", raters(one)) for one in material.problem.outputs if isinstance(one, Graded)),
            None if record.gate is None else tag("p", f"Gated: it {text(record.gate, 200)}."),
            _built_upon(material),
            _caution(material),
            _numbers(material),
        ]
    )


def verdict(material: Material, feature: Feature) -> Html:
    """How good the answers for one output are, in plain words."""
    split = "test" if "test" in material.record.scores else "validation"
    scores = {k: v for k, v in material.record.scores[split][feature.name].items() if v is not None}
    if not scores:
        return join([tag("b", text(feature.name)), ": no row was left to judge the answers by."])
    constant = material.problem.constants.get(feature.name, {})
    judged = material.judged(feature, split)
    rows = "rows" if judged is None else "row" if judged == 1 else f"{judged:,} rows"
    unseen = f"{rows} it had never seen" if split == "test" else f"{rows} it was not trained on"
    name = tag("b", text(feature.name))
    if isinstance(feature, Category) and "accuracy" in scores:
        right, often = in_hundred(scores["accuracy"]), in_hundred(constant.get("accuracy", 0.0))
        what = join(
            [
                "It names the right ",
                name,
                " for ",
                tag("b", f"{right} %"),
                f" of the {unseen}; always giving the commonest ",
            ]
        )
        return join([what, f"answer would be right for {often} %. {_how_well(material, feature, scores)}"])
    if isinstance(feature, Number) and "mae" in scores:
        off, before = number(scores["mae"], 3), number(constant.get("mae"), 3)
        share = max(scores.get("r2", 0.0), 0.0)
        what = join(["Its answers for ", name, " are off by ", tag("b", off), f" on average on the {unseen}"])
        explained = f", and explain {number(100 * share, 3)} % of the differences between them"
        return join([what, f" (the best constant: {before}){explained}. {_how_well(material, feature, scores)}"])
    if isinstance(feature, Labels) and "f1_micro" in scores:
        both, whole = number(scores["f1_micro"], 3), in_hundred(scores.get("subset_accuracy", 0.0))
        what = join(["It gets ", tag("b", f"{whole} %"), f" of the {unseen} entirely right in ", name])
        return join([what, f" (F1 of all labels together: {both}). {_how_well(material, feature, scores)}"])
    found = ", ".join(f"{metric_name(metric)} {score(metric, value)}" for metric, value in scores.items())
    return join([name, f": {found} on the {unseen}."])


def raters(feature: Graded) -> Html:
    """How far those who graded an output agree."""
    found = feature.agreement
    if "ceiling" not in found:
        return join(
            [tag("b", text(feature.name)), " was graded by one person a row: nothing tells how far they agree."]
        )
    parts = [f"Its {len(feature.raters)} raters give the same answer in {in_hundred(found['agreement'])} of 100 pairs"]
    if "fleiss_kappa" in found:
        parts.append(f" (Fleiss' kappa {number(found['fleiss_kappa'], 2)})")
    each = ", ".join(
        f"{text(name)} {in_hundred(found[f'rater {name}'])}" for name in feature.raters if f"rater {name}" in found
    )
    parts.append(f". What most of the others say, they say in {in_hundred(found['ceiling'])} of 100 rows ({each}).")
    return join(parts)


def in_hundred(share: float) -> str:
    """A share as so many of 100: whole, but where the last one counts."""
    return number(100 * share, 3) if 0 < share < 0.02 or 0.98 < share < 1 else f"{100 * share:.0f}"


def _how_well(material: Material, feature: Feature, scores: Mapping[str, float]) -> str:
    metric = material.problem.metric_of(feature.name).name
    if metric not in scores or metric not in material.problem.constants.get(feature.name, {}):
        return ""
    found = skill(material.problem, feature.name, scores)
    word = next((word for least, word in WORDS if found >= least), None)
    if word is None:
        return "That is no better than guessing."
    return f"That is {word}." if word.startswith("a ") else f"It does this {word}."


def _built_upon(material: Material) -> Html | None:
    """Which stored knowledge it uses, and what of it came from outside."""
    record = material.record
    if not record.built_on:
        return None
    outside = ", ".join(record.imported) or "none"
    return tag("p", f"Built upon {text(', '.join(record.built_on), 200)}; imported knowledge: {text(outside, 200)}.")


def _caution(material: Material) -> Html | None:
    if "test" in material.record.scores:
        return None
    why = "Learning has not finished" if material.record.state == "learning" else "No rows were kept for a test"
    said = f"{why}: the scores are of validation rows, by which the models were also chosen, so they flatter a little."
    return tag("p", said, class_="warn soft")


def _numbers(material: Material) -> Html:
    summary = material.summary
    better = "higher is better" if summary.greater_is_better else "lower is better"
    better += EXPLAINED.get(summary.metric, "")
    name = metric_name(summary.metric)
    cells = []
    if summary.test is not None:
        between = ""
        if summary.interval is not None:
            low, high = (score(summary.metric, value) for value in summary.interval)
            between = f"95 % interval {low.removesuffix(' %')} to {high}"
        cells.append((f"Test: {name}", score(summary.metric, summary.test), between or better))
    cells.append((f"Validation: {name}", score(summary.metric, summary.validation), better))
    cells.append(("Learned in", duration(summary.seconds), f"{number(summary.work)} work units"))
    failed = f"{summary.failed} failed" if summary.failed else "none failed"
    cells.append(
        ("Experiments", f"{summary.experiments:,}", f"{failed}, {len(material.record.members)} in the final path")
    )
    unused = f"{summary.rows_unused:,} not used" if summary.rows_unused else "all of them"
    cells.append(("Rows used", f"{summary.rows_used:,}", unused))
    cells.append(("Parameters", amount(summary.parameters), "numbers in the final path"))
    parts = [
        tag("div", tag("dt", title), tag("dd", value, tag("small", note)), class_="first" if i == 0 else None)
        for i, (title, value, note) in enumerate(cells)
    ]
    return tag("dl", *parts, class_="facts")


def comparison(material: Material) -> Html:
    """The task beside what simple methods reach on the same rows, and every score it got."""
    return section(
        "quality",
        "How good it is",
        figure(
            _ladder(material),
            "Scores on the validation rows; simple methods were given the same rows. The last line is the score on "
            "test rows, looked at once, with its 95 % interval."
            if material.summary.test is not None
            else "Scores on the validation rows; simple methods were given the same rows.",
            wide=True,
        ),
        tag("h3", "All scores"),
        _all_scores(material),
    )


def _simple(material: Material) -> list[Tried]:
    """The best experiment of each simple method that finished, worst first."""
    best: dict[str, Tried] = {}
    for tried in material.experiments:
        if tried.label not in SIMPLE or tried.score is None or tried.failed:
            continue
        before = best.get(tried.label)
        if before is None or before.score is None or material.better(tried.score, before.score):
            best[tried.label] = tried
    ordered = sorted(best.values(), key=lambda one: one.score or 0.0)
    return ordered if material.summary.greater_is_better else ordered[::-1]


def _ladder(material: Material) -> Html:
    """One line per method with a dot where its score is: boxes rather than a drawing, so it fits any width."""
    summary = material.summary
    lines = [(SIMPLE[one.label], one.score, "muted") for one in _simple(material) if one.score is not None]
    lines += [("this task, validation", summary.validation, "one")] if summary.validation is not None else []
    lines += [("this task, test", summary.test, "two")] if summary.test is not None else []
    low, high = spread([value for _, value, _ in lines] + list(summary.interval or ()), room=0.04)

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    parts = []
    for name, value, kind in lines:
        bar = None
        if kind == "two" and summary.interval is not None:
            begin, end = (place(edge) for edge in summary.interval)
            bar = tag("i", class_="whisker", style=f"left:{begin}%;width:{round(end - begin, 2)}%")
        dot = tag("b", class_=f"spot {kind}", style=f"left:{place(value)}%", title=f"{name}: {value}")
        own = None if kind == "muted" else "own"
        parts += [tag("span", name, class_=own), tag("div", bar, dot, class_="track")]
        parts.append(tag("span", score(summary.metric, value), class_=f"value {own or ''}".strip()))
    ticks = [
        tag("span", score(summary.metric, tick), style=f"left:{place(tick)}%") for tick in nice_ticks(low, high, most=4)
    ]
    parts += [tag("span"), tag("div", *ticks, class_="ticks"), tag("span")]
    direction = "higher is better" if summary.greater_is_better else "lower is better"
    said = f"{metric_name(summary.metric)}, {direction}{EXPLAINED.get(summary.metric, '')}"
    return tag("div", *parts, tag("div", said, class_="axis-name"), class_="ladder")


def _all_scores(material: Material) -> Html:
    scores = material.record.scores
    several = len(material.problem.outputs) > 1
    rows = []
    for feature in material.problem.outputs:
        constant = material.problem.constants.get(feature.name, {})
        chosen = material.problem.metric_of(feature.name).name
        for metric in feature.metrics:
            values = [scores.get(split, {}).get(feature.name, {}).get(metric.name) for split in ("validation", "test")]
            name = tag("b" if metric.name == chosen else "span", metric_name(metric.name))
            note = None if metric.greater_is_better else tag("span", " lower is better", class_="soft")
            shown = [score(metric.name, value) for value in (*values, constant.get(metric.name))]
            rows.append([*([text(feature.name)] if several else []), join([name, note]), *shown])
    head = [*(["output"] if several else []), "score", "validation", "test", "best constant"]
    return table(head, rows, numbers=range(len(head) - 3, len(head)))


def provenance(material: Material) -> Html:
    """What it was learned from, with what, on what: enough to learn it again."""
    origin, summary = material.record.origin, material.summary
    budget = f"{number(origin['work'])} work units" if origin.get("work") else ""
    if not budget:
        budget = duration(float(origin["budget_seconds"])) if origin.get("budget_seconds") else "10 min (the default)"
    split = material.problem.split
    by = f"{split.kind} by column {text(split.column)}" if split.column else split.kind
    rows = [
        ("source", text(origin.get("source", "unknown"), 200)),
        ("rows", f"{summary.rows_used:,} used, {summary.rows_unused:,} not used"),
        ("split", f"{by}; {number(100 * split.test_fraction, 3)} % for the test unless the data say otherwise"),
        ("budget", budget),
        ("imported knowledge", text(", ".join(material.record.imported) or "none", 200)),
        ("seed", str(origin.get("seed", "–"))),
        ("device", f"{origin.get('device', '–')} ({origin.get('machine', '–')})"),
        ("versions", ", ".join(f"{name} {one}" for name, one in dict(origin.get("versions", {})).items())),
        *([("taken off the score", text(origin["cost"]))] if origin.get("cost") else []),
        ("fingerprint of the data", str(origin.get("fingerprint", "–"))[:16]),
        ("digest of the result", summary.result_digest[:16]),
    ]
    return section("origin", "Where it comes from", table(["", ""], [(tag("b", name), value) for name, value in rows]))
