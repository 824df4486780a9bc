"""Every feature keeps the contract; so does one that comes from another package, with no edit here."""

from __future__ import annotations

import sys
import textwrap

import pytest

from polymath.problem import FEATURES, Image, Labels, Number, Problem, Text
from polymath.problem.features import Category, Date, Graded, Reply, parse_feature, vocabulary
from polymath.testing import check_feature

SETTINGS = [
    Number(name="n", objective="huber", level=0.8),
    Image(name="i", from_file=False),
    Image(name="i", side=8),
    Image(name="i", height=5, width=9, channels=1),
    Text(name="t", lower=False, most_tokens=5),
    Labels(name="l", separator=";"),
    Category(name="\x00\u202eodd; name|,"),
    Date(name="d", format="%Y"),
    Graded(name="g", raters=("anna", "ben")),
    Reply(name="r", width=5, most_responses=3),
]


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.__name__)
def test_contract(feature):
    check_feature(feature)


@pytest.mark.parametrize("feature", SETTINGS, ids=lambda feature: type(feature).__name__)
def test_contract_with_settings(feature):
    check_feature(feature)


THEIRS = '''
"""A feature of another package: an angle in degrees, as sine and cosine."""

from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from polymath.problem.features import Encoded, Feature
from polymath.problem.features.common import numbers
from polymath.problem.form import vector


class Angle(Feature):
    type: Literal["angle"] = "angle"
    measured: bool = False

    @property
    def is_measured(self):
        return self.measured

    def measure(self, values, *, as_output=False):
        return self.replace(measured=True)

    @property
    def form(self):
        return vector(2)

    def encode(self, values):
        degrees, bad = numbers(values)
        angle = np.deg2rad(degrees)
        return Encoded(np.stack([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32), bad)

    def random_values(self, rows, generator):
        return pa.chunked_array([pa.array(generator.uniform(0, 360, rows), mask=generator.random(rows) < 0.1)])
'''


@pytest.fixture
def their_package(tmp_path, monkeypatch):
    """A distribution with one file and one line of entry points, as pip would have installed it."""
    (tmp_path / "compass.py").write_text(textwrap.dedent(THEIRS))
    described = tmp_path / "compass-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: compass\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[polymath.features]\nangle = compass:Angle\n")
    monkeypatch.syspath_prepend(tmp_path)
    vocabulary.cache_clear()
    yield
    vocabulary.cache_clear()
    sys.modules.pop("compass", None)


def test_a_feature_from_another_package(their_package):
    angle = vocabulary()["angle"]
    check_feature(angle)
    problem = Problem(name="wind", inputs=[{"type": "angle", "name": "direction"}], outputs=[Number(name="speed")])
    assert type(problem.inputs[0]) is angle
    assert Problem.from_json(problem.to_json()) == problem


def test_unknown_type_names_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown feature type 'smell'; known: category, date, events, graded, image"):
        parse_feature({"type": "smell", "name": "x"})


def test_the_kit_finds_a_broken_feature():
    class Broken(Number):
        def constant(self, target):
            return super().constant(target) + 1

    with pytest.raises(AssertionError, match="best constant"):
        check_feature(Broken)
