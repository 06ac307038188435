"""`marey models`: what recipes build, counted."""

from __future__ import annotations

import pytest

from marey import verbs
from marey.errors import UnknownNameError, UsageError
from marey.training import recipe_names


def test_every_recipe_is_listed_with_what_it_costs() -> None:
    rows = verbs.list_models().as_dict()
    assert [row["name"] for row in rows] == list(recipe_names())
    for row in rows:
        assert row["parameters"] == row["trained"] + row["frozen"] + row["statistics"]
        assert row["trained"] > 0
        assert row["flops"] > 1e6
        assert len(row["input"]) == 4


@pytest.mark.parametrize(
    ("name", "parameters", "frozen", "statistics", "shape"),
    [
        ("vgg16-lstm", 36_461_062, 14_714_688, 0, (10, 3, 96, 64)),
        ("cnn-lstm", 4_547_014, 0, 1_152, (10, 1, 80, 80)),
    ],
)
def test_counts_are_those_of_the_published_tables(
    name: str, parameters: int, frozen: int, statistics: int, shape: tuple[int, ...]
) -> None:
    table = verbs.list_models(name)
    (row,) = table.rows
    assert (row.parameters, row.frozen, row.statistics, row.input) == (parameters, frozen, statistics, shape)
    assert sum(layer.parameters for layer in table.layers) == parameters
    assert table.as_dict()[0]["layers"]


def test_operations_are_those_of_the_published_tables() -> None:
    (vgg,) = verbs.list_models("vgg16-bilstm").rows
    per_picture = vgg.flops / 30
    assert per_picture == pytest.approx(2 * 15.35e9, rel=0.01)  # Simonyan and Zisserman: 15.3 G multiply-adds
    (swin,) = verbs.list_models("swin3d-t").rows
    assert swin.flops == pytest.approx(2 * 43.88e9, rel=0.01)  # torchvision's table


def test_changes_of_a_recipe_are_counted() -> None:
    (one,), (two,) = (verbs.list_models("lrcn", set=[f"sampling.count={count}"]).rows for count in (8, 16))
    assert two.flops == pytest.approx(2 * one.flops)
    assert two.parameters == one.parameters


def test_what_cannot_be_listed_is_said() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'cnn-lstm'"):
        verbs.list_models("cnn-lsmt")
    with pytest.raises(UsageError, match="--classes 1"):
        verbs.list_models(classes=1)
