"""The parts of a report put together."""

from __future__ import annotations

from .answers import answers
from .columns import problem
from .graph import path
from .head import comparison, head, provenance
from .markup import Html, tag
from .material import Material
from .style import CSS
from .tried import tried

PARTS = (
    ("quality", "Quality"),
    ("answers", "Right and wrong"),
    ("tried", "What was tried"),
    ("path", "The path"),
    ("problem", "The problem"),
    ("origin", "Origin"),
)
"""Sections by name, in the order in which they stand."""


def page(material: Material) -> str:
    """The whole page: no script, nothing from elsewhere."""
    links = tag("nav", *(tag("a", title, href=f"#{name}") for name, title in PARTS), aria_label="Parts of this page")
    sections = [f(material) for f in (comparison, answers, tried, path, problem, provenance)]
    body = tag("body", tag("header", head(material), links), tag("main", *sections), _foot(material))
    top = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{material.record.name} · Polymath report"),
        tag("style", Html(CSS)),
    )
    return "<!doctype html>\n" + tag("html", top, body, lang="en") + "\n"


def _foot(material: Material) -> Html:
    versions = material.record.origin.get("versions", {})
    ours = versions.get("polymath-learn", "") if isinstance(versions, dict) else ""
    return tag("footer", f"Written by Polymath {ours}. Digest of the result {material.summary.result_digest}.")
