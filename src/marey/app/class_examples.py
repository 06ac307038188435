"""The classes of a model on the page, with an example of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import streamlit as st

from marey.app import text
from marey.app.reading import clip_chronophotograph
from marey.data import Clip
from marey.errors import VideoError

_IN_A_ROW: Final = 4


@st.cache_data(max_entries=256, show_spinner=False)
def _image(path: str, changed: float, start: float | None, end: float | None) -> npt.NDArray[np.uint8] | None:
    try:
        return clip_chronophotograph(Clip(Path(path), start=start, end=end))
    except VideoError:
        return None


def show_classes(labels: Sequence[str], examples: Mapping[str, Clip], *, on_choice: Callable[[str], None]) -> None:
    """Show the names of the classes, each with the chronophotograph of a clip of it, where one is here.

    Args:
        labels: the classes of the model.
        examples: label -> a test clip of it on this machine.
        on_choice: called with the label whose example is to be predicted.
    """
    if not labels or not st.toggle(f"Show the {len(labels)} classes of this model", key="show_classes"):
        return
    for first in range(0, len(labels), _IN_A_ROW):
        for column, label in zip(st.columns(_IN_A_ROW), labels[first : first + _IN_A_ROW], strict=False):
            with column:
                st.markdown(f"**{text.escape(label)}**")
                _show_example(label, examples.get(label), on_choice)


def _show_example(label: str, clip: Clip | None, on_choice: Callable[[str], None]) -> None:
    if clip is None:
        st.caption("no test clip of it on this machine")
        return
    image = _image(str(clip.path), clip.path.stat().st_mtime, clip.start, clip.end)
    if image is not None:
        st.image(image, width="stretch", alt=f"an example of {label}")
    st.button("Predict it", key=f"example of {label}", on_click=on_choice, args=(label,))
