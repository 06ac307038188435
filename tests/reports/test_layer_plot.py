"""The drawing of a network's layers."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from marey import commands
from marey.errors import UsageError
from marey.models import Layer
from marey.reports import plot_layers

LAYERS = (
    Layer("frames.0", "Conv2d", (10, 320, 78, 78), 3_200),
    Layer("frames.1", "MaxPool2d", (10, 320, 39, 39), 0),
    Layer("linear", "Linear", (1, 6), 390),
)


def test_each_layer_has_a_box_with_its_output_and_its_parameters() -> None:
    (axes,) = plot_layers(LAYERS, title="small").axes
    shown = [text.get_text() for text in axes.texts if text.get_text()]
    assert shown == [
        "Conv2d",
        "10 x 320 x 78 x 78",
        "3,200",
        "MaxPool2d",
        "10 x 320 x 39 x 39",
        "Linear",
        "1 x 6",
        "390",
    ]
    assert len(axes.patches) == 3


def test_many_layers_stand_in_columns_inside_the_drawing() -> None:
    figure = plot_layers(LAYERS * 20, title="many")
    width, height = figure.get_size_inches()
    assert width > 2.5 * plot_layers(LAYERS, title="many").get_size_inches()[0]
    assert height < 12
    boxes = [box.get_window_extent() for box in figure.axes[0].patches]
    assert max(box.x1 for box in boxes) <= figure.bbox.x1
    assert min(box.y0 for box in boxes) >= 0


def test_texts_stay_inside_their_boxes_and_do_not_touch() -> None:
    figure = plot_layers(LAYERS, title="small")
    figure.canvas.draw()
    (axes,) = figure.axes
    first = axes.patches[0].get_window_extent()
    kind, output, parameters = [text.get_window_extent() for text in axes.texts[:3]]
    assert first.x0 <= kind.x0
    assert kind.x1 < output.x0
    assert output.x1 < parameters.x0
    assert parameters.x1 <= first.x1


def test_the_command_draws_the_layers_of_one_recipe(tmp_path: Path) -> None:
    table = commands.list_models("lrcn-small", plot=tmp_path / "layers.png")
    assert table.as_dict()[0]["plot"] == str(tmp_path / "layers.png")
    with Image.open(tmp_path / "layers.png") as image:
        assert min(image.size) > 300
    with pytest.raises(UsageError, match="draws the layers of one recipe"):
        commands.list_models(plot=tmp_path / "all.png")
    with pytest.raises(UsageError, match="draws the layers of one recipe"):
        commands.list_models("lrcn-small", plot=tmp_path / "layers.jpg")
