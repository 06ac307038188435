"""A drawing of a network: its layers from the first to the last, with their outputs and parameters."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from marey.models import Layer
from marey.reports import style

PER_COLUMN = 24  # layers; further ones stand in the next column
PITCH, HEIGHT, GAP = 0.42, 0.3, 0.35  # inches: from box to box, of a box, between columns
KIND, OUTPUT = 26, 24  # characters


def plot_layers(layers: Sequence[Layer], *, title: str) -> Figure:
    """Plot the layers as boxes from top to bottom, in columns: kind, shape of the output, number of parameters.

    Layers without parameters have a pale box. Shapes are those of one clip, or of one image where the layer is the
    encoder's; the first axis is the batch.

    Args:
        layers: of the network, in their order.
        title: of the drawing.
    """
    size = style.BASE - 1
    rows = [
        (
            style.plot_text(layer.kind, longest=KIND),
            style.plot_text(" x ".join(map(str, layer.output)), longest=OUTPUT),
            f"{layer.parameters:,}" if layer.parameters else "",
        )
        for layer in layers
    ]
    widths = [max(style.text_width(row[place], size) for row in rows) for place in range(3)]
    width = sum(widths) + 0.5
    columns = -(-len(rows) // PER_COLUMN)
    deep = min(len(rows), PER_COLUMN)
    across = columns * width + (columns - 1) * GAP
    figure = style.new_figure(max(across, style.text_width(title, style.BASE + 1)) + 0.4, deep * PITCH + 0.7)
    axes = style.add_axes(figure, 0.2, 0.15, across, deep * PITCH)
    axes.set_xlim(0, across)
    axes.set_ylim(deep * PITCH, 0)
    axes.set_axis_off()
    for number, (kind, output, parameters) in enumerate(rows):
        column, row = divmod(number, PER_COLUMN)
        left, top = column * (width + GAP), row * PITCH
        middle = top + HEIGHT / 2
        fill = style.SKY if parameters else style.FAINT
        box = FancyBboxPatch((left, top), width, HEIGHT, boxstyle="round,pad=0,rounding_size=0.05", lw=0.6)
        box.set(facecolor=fill, edgecolor=style.MUTED, clip_on=False)
        axes.add_patch(box)
        for place, text, side in (
            (left + 0.1, kind, "left"),
            (left + widths[0] + 0.25, output, "left"),
            (left + width - 0.1, parameters, "right"),
        ):
            axes.text(place, middle, text, fontsize=size, color=style.INK, va="center", ha=side, parse_math=False)
        if row < deep - 1 and number < len(rows) - 1:
            axes.annotate(
                "",
                xy=(left + width / 2, top + PITCH),
                xytext=(left + width / 2, top + HEIGHT),
                arrowprops={"arrowstyle": "->", "color": style.MUTED, "lw": 0.8, "shrinkA": 0, "shrinkB": 0},
            )
    style.label_axes(axes, title=title)
    return figure
