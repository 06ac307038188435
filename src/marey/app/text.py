"""Texts on the page: file names, labels and messages from users are escaped, never read as markup."""

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
    "no_video_stream": "it has no video stream",
    "no_frames": "none of its frames can be decoded",
    "truncated": "it is cut off",
    "corrupt": "it is damaged",
    "too_short": "it is too short",
    "too_large": "it is too large",
    "timeout": "decoding it takes too long",
    "not_finite": "the model gives no number for it",
    "forbidden": "reading it is not allowed",
    "expired": "the credentials for it have expired",
    "unreachable": "its server cannot be reached",
    "no_ranges": "its server sends whole files only",
    "changed": "it was replaced while it was read",
    "crashed": "reading it ends the program",
}


def escape(text: str) -> str:
    """Return a text escaped for Markdown."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^=])", r"\\\1", " ".join(text.split()))


def message(error: MareyError | OSError) -> str:
    """Return the message of an expected error: one of marey, or of the file system (a full disk, no permission)."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def fault(error: MareyError, name: str) -> str:
    """Return why a file cannot be used, as Markdown; `name` is its name on the user's machine."""
    if not isinstance(error, VideoError):
        return escape(str(error))
    why = _REASONS.get(error.reason, error.reason)
    return f"**{escape(name)}** cannot be used: {why}. {escape(error.detail)} (`{error.reason}`)"


def without_folders(error: MareyError | OSError, folder: str) -> str:
    """Return the message of an error about a set, without the path of the app's folder."""
    return escape(message(error).replace(f"{folder}/", "").replace(folder, "the set"))


def bars(top: Sequence[tuple[str, float]], *, most: int = 5) -> None:
    """Show the most probable classes, each with its probability as a bar."""
    rows = "".join(
        f'<li><span class="name">{html.escape(label)}</span>'
        f'<span class="value">{html.escape(percent_text(share))}</span>'
        f'<span class="track"><span class="bar" style="width:{100 * share:.1f}%"></span></span></li>'
        for label, share in top[:most]
    )
    st.html(f'<ol class="marey-bars">{rows}</ol>')


def answer(label: str, confidence: float) -> None:
    """Show the predicted label in large letters, with its confidence."""
    detail = html.escape(f"confidence {percent_text(confidence)}")
    st.html(f'<p class="marey-answer"><strong>{html.escape(label)}</strong><span>{detail}</span></p>')


def lead(text: str) -> None:
    """Show a muted sentence under a heading."""
    st.html(f'<p class="marey-lead">{html.escape(text)}</p>')
