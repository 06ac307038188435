"""Style of all plots: light, legible in print and with colour blindness."""

from __future__ import annotations

import unicodedata
import warnings
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from marey.atomic import atomic_file

# Okabe & Ito, Color Universal Design, 2008
BLUE, ORANGE, GREEN, SKY = "#0072B2", "#D55E00", "#009E73", "#9CCBE8"
INK, MUTED, LINE, PAPER = "#1F2328", "#59636E", "#D8DEE4", "#FFFFFF"
BLACK = "#000000"
FAINT = "#F3F5F7"  # empty areas
SCALE = "Blues"  # counts: white to dark, the same order in grey print

HUES = (BLUE, ORANGE, GREEN, "#E69F00", "#CC79A7", "#56B4E9", "#F0E442")  # Okabe & Ito's, the far ones first
TINTS = (0.0, -0.38, 0.35)  # towards black or white, where there are more classes than hues

DPI = 144
BASE = 9.0  # points
GLYPH = 0.6  # width of an average glyph, in font sizes
WIDE_FONTS = (  # for labels in scripts that matplotlib's own font does not have
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
    "Noto Sans Hebrew",
    "Arial Unicode MS",
)


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of a size in inches, without a window or global state."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def add_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes, placed in inches from the lower left corner, without lines above and on the right."""
    full_width, full_height = figure.get_size_inches()
    axes = figure.add_axes((left / full_width, bottom / full_height, width / full_width, height / full_height))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=BASE - 1, length=3)
    axes.set_axisbelow(True)
    return axes


def label_axes(axes: Axes, *, x: str = "", y: str = "", title: str = "", pad: float = 10) -> None:
    """Set labels and title in the shared sizes and colours; the title is `pad` points above."""
    axes.set_xlabel(x, fontsize=BASE, color=MUTED, labelpad=6)
    axes.set_ylabel(y, fontsize=BASE, color=MUTED, labelpad=6)
    # With y, Matplotlib does not measure all artists for a free place.
    axes.set_title(title, fontsize=BASE + 1, color=INK, loc="left", y=1.0, pad=pad, fontweight="bold")


def legend_above(axes: Axes) -> None:
    """Add a legend in one row between a plot and its title, whose `pad` has to be 24 points."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=4,
        frameon=False,
        fontsize=BASE - 1,
        borderaxespad=0.2,
        handletextpad=0.5,
    )


def class_colours(count: int) -> list[str]:
    """Return a colour for each class, by its place among the labels; they repeat after 21."""
    return [_tinted(HUES[place % len(HUES)], TINTS[place // len(HUES) % len(TINTS)]) for place in range(count)]


def ink_on(colour: str) -> str:
    """Return black or white for text on a colour, whichever has more contrast: 4.5 or higher."""
    return max((BLACK, PAPER), key=lambda ink: contrast(colour, ink))


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21 (WCAG 2.1)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def clock_text(seconds: float, *, digits: int = 1) -> str:
    """Return seconds as a clock time: "0:04.2", "12:00.0", "1:02:03.4"."""
    ticks = round(max(0.0, seconds) * 10**digits)
    whole, part = divmod(ticks, 10**digits)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    front = f"{hours}:{minute:02d}" if hours else f"{minute}"
    return f"{front}:{second:02d}" + (f".{part:0{digits}d}" if digits else "")


def plot_text(label: str, *, longest: int = 28) -> str:
    """Return a label as one line without control characters, shortened in its middle."""
    line = " ".join("".join(char if char.isprintable() else " " for char in label).split())
    if len(line) <= longest:
        return line
    head = longest // 2
    return f"{line[:head]}…{line[len(line) - (longest - 1 - head) :]}"


def text_width(text: str, size: float) -> float:
    """Return the approximate width of a text in inches; `size` is in points."""
    glyphs = sum(1.7 if unicodedata.east_asian_width(char) in "WF" else 1.0 for char in text)
    return glyphs * GLYPH * size / 72


def _tinted(colour: str, tint: float) -> str:
    towards = 1.0 if tint > 0 else 0.0
    red, green, blue = (channel + (towards - channel) * abs(tint) for channel in to_rgb(colour))
    return to_hex((red, green, blue))


def _luminance(colour: str) -> float:
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in to_rgb(colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def save_png(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG; the same figure gives the same bytes."""
    installed = set(font_manager.fontManager.get_font_names())
    families = ["DejaVu Sans", *(font for font in WIDE_FONTS if font in installed)]
    with matplotlib.rc_context({"font.sans-serif": families}), warnings.catch_warnings():
        # scripts that no installed font has become boxes; the tables of the page show the label
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        with atomic_file(Path(path)) as part:
            figure.savefig(part, format="png", dpi=DPI, metadata={"Software": None})
