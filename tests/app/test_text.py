from __future__ import annotations

import base64

import pytest

from marey.app.components import decode_recording
from marey.app.predict_page import clip_of
from marey.app.text import escape, fault
from marey.errors import VideoError


@pytest.mark.parametrize(
    "text",
    ["![x](http://evil/x.png)", "<img src=x>", "# a", ":red[a]", "$x$", "a_b_c", "`x`", "[a](javascript:b)", "1. a"],
)
def test_all_signs_of_markdown_are_escaped(text: str) -> None:
    escaped = escape(text)
    signs = [sign for place, sign in enumerate(escaped) if sign in "![](<>#:$_`*" and escaped[place - 1] != "\\"]
    assert not signs
    assert escaped.replace("\\", "") == text


def test_a_fault_names_the_file_as_its_owner_does() -> None:
    error = VideoError("/data/uploads/0123.mp4", "not_video", "no video format starts like this file")
    shown = fault(error, "notes.mp4")
    assert shown.startswith("**notes\\.mp4** cannot be used: it is not a video.")
    assert "uploads" not in shown


def test_a_recording_is_decoded() -> None:
    value = {"type": "video/webm;codecs=vp9", "data": base64.b64encode(b"video").decode()}
    assert decode_recording(value) == (b"video", "recording.webm")


@pytest.mark.parametrize("value", [None, "x", {}, {"data": 1}, {"data": "not base64!"}, {"data": "A" * (100 << 20)}])
def test_an_invalid_recording_is_none(value: object) -> None:
    assert decode_recording(value) is None


@pytest.mark.parametrize(
    ("name", "start", "end"), [("a-1/b.mp4", None, None), ("a-1/b.mp4@0.5-2", 0.5, 2.0), ("a-1/b.mp4@1-", 1.0, None)]
)
def test_the_span_of_a_clip_is_read_from_its_name(name: str, start: float | None, end: float | None) -> None:
    clip = clip_of(name, "a-1/b.mp4", "walking", None)
    assert (clip.start, clip.end) == (start, end)
