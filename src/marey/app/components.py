"""Components that Streamlit lacks: a camera recorder, and a confusion matrix whose cells are buttons.

This server delivers their scripts, from `static`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final

import streamlit as st

_MOST_RECORDED: Final = 64 << 20  # bytes
_SUFFIXES: Final = {"video/webm": ".webm", "video/mp4": ".mp4", "video/x-matroska": ".mkv"}


def recorder(*, key: str, seconds: int, on_clip: Callable[[bytes, str], None]) -> None:
    """Show a camera that records a few seconds of video in the browser.

    Args:
        key: of the widget.
        seconds: maximum duration of a recording.
        on_clip: called once with each recording and its file name.
    """

    def arrived() -> None:
        recording = decode_recording(st.session_state[key].get("recording"))
        if recording is not None:
            on_clip(*recording)

    _component("recorder")(key=key, data={"seconds": seconds}, on_recording_change=arrived)


def decode_recording(value: Any) -> tuple[bytes, str] | None:
    """Return the bytes and the file name of a recording that a browser sent; None if it is not one."""
    if not isinstance(value, dict) or not isinstance(value.get("data"), str):
        return None
    if len(value["data"]) > _MOST_RECORDED * 4 // 3:
        return None
    try:
        data = base64.b64decode(value["data"], validate=True)
    except binascii.Error:
        return None
    kind = str(value.get("type", "")).partition(";")[0]
    return data, f"recording{_SUFFIXES.get(kind, '.webm')}"


def matrix(
    labels: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]], *, key: str
) -> tuple[int, int] | None:
    """Show a confusion matrix, true classes down and predicted ones across.

    Args:
        labels: of the rows.
        columns: of the columns.
        counts: clips in each cell.
        key: of the widget.

    Returns:
        Row and column of the selected cell; None before one is selected.
    """
    data = {"labels": list(labels), "columns": list(columns), "counts": [list(row) for row in counts]}
    result = _component("matrix")(key=key, data=data, default={"cell": None}, on_cell_change=lambda: None)
    cell = result.get("cell")
    if not isinstance(cell, list) or len(cell) != 2 or not all(isinstance(place, int) for place in cell):
        return None
    row, column = cell
    inside = 0 <= row < len(labels) and 0 <= column < len(columns)
    return (row, column) if inside else None


@cache
def _source(name: str) -> str:
    return (resources.files("marey.app") / "static" / name).read_text(encoding="utf-8")


def _component(name: str) -> Any:
    html = f'<div class="{name}"></div>'
    return st.components.v2.component(f"marey_{name}", html=html, css=_source(f"{name}.css"), js=_source(f"{name}.js"))
