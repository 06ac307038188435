"""Words of strangers on the page: file names, labels and messages are shown as they are, and never as markup."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

import streamlit as st

from marey.errors import MareyError, VideoError
from marey.reports import percent_text

_REASONS = {
    "missing": "there is no such file",
    "empty": "the file is empty",
    "not_video": "it is not a video",
    "no_video_stream": "it holds no pictures",
    "no_frames": "none of its pictures can be read",
    "truncated": "it is cut off",
    "corrupt": "it is damaged",
    "too_short": "it is too short",
    "too_large": "it is too large",
    "timeout": "reading it takes too long",
}


def plain(text: str) -> str:
    """Text for a place where Streamlit expects Markdown."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^=])", r"\\\1", " ".join(text.split()))


def sentence(error: MareyError | OSError) -> str:
    """Return what an error says that is not marey's fault; a full disk is none, nor a folder that may not be read."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def fault(error: MareyError, name: str) -> str:
    """Why a file cannot be used, in a sentence, as Markdown; `name` is what its owner calls it."""
    if not isinstance(error, VideoError):
        return plain(str(error))
    why = _REASONS.get(error.reason, error.reason)
    return f"**{plain(name)}** cannot be used: {why}. {plain(error.detail)} (`{error.reason}`)"


def without_folders(error: MareyError | OSError, folder: str) -> str:
    """A message about a set, without the place where the page keeps it."""
    return plain(sentence(error).replace(f"{folder}/", "").replace(folder, "the set"))


def bars(top: Sequence[tuple[str, float]], *, most: int = 5) -> None:
    """The most probable classes, each with its probability as a bar."""
    rows = "".join(
        f'<li><span class="name">{html.escape(label)}</span>'
        f'<span class="value">{html.escape(percent_text(share))}</span>'
        f'<span class="track"><span class="bar" style="width:{100 * share:.1f}%"></span></span></li>'
        for label, share in top[:most]
    )
    st.html(f'<ol class="marey-bars">{rows}</ol>')


def answer(label: str, confidence: float) -> None:
    """The answer in large letters."""
    sure = html.escape(f"{percent_text(confidence)} sure")
    st.html(f'<p class="marey-answer"><strong>{html.escape(label)}</strong><span>{sure}</span></p>')


def lead(text: str) -> None:
    """A quiet sentence under a heading."""
    st.html(f'<p class="marey-lead">{html.escape(text)}</p>')
