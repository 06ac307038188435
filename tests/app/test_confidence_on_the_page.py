"""Tests that the page never shows a confidence as certain, with Streamlit's own test runner."""

from __future__ import annotations

import re

import pytest


def _page() -> None:
    import numpy as np
    import streamlit as st

    from marey.app import charts, text
    from marey.data import Segment
    from marey.evaluation import reliability
    from marey.prediction import Timeline

    high = 0.99999
    text.answer("<b>", high)
    text.bars([("x", high), ("y", 1 - high)])
    rows = [{"clip": "a", **charts.confidence_cells(high)}, {"clip": "b", **charts.confidence_cells(None)}]
    st.dataframe(rows, column_config=charts.confidence_columns())
    values = np.array([[high, 1 - high]], np.float32)
    segments = (Segment(0.0, 1.0, "x", high),)
    charts.timeline(Timeline("a.mp4", 1.0, ("x", "y"), np.array([0.5]), values, segments, 1.0))
    charts.reliability(reliability([high], [True]))


def test_labels_bars_tables_and_charts_never_show_certainty() -> None:
    testing = pytest.importorskip("streamlit.testing.v1", reason="the page is not tested: streamlit is not installed")
    page = testing.AppTest.from_function(_page, default_timeout=120).run()
    assert not page.exception
    answer, bars = (block.proto.body for block in page.main if type(block).__name__ == "Html")
    assert "confidence &gt;99 %" in answer
    assert re.findall(r'class="value">([^<]+)<', bars) == ["&gt;99 %", "&lt;1 %"]
    table = page.dataframe[0].value
    assert (table["confidence"][0], table["bar"][0]) == (">99 %", 0.99999)
    charts = [text for block in page.main if "vega" in (text := str(block.proto)).lower()]
    assert len(charts) == 2
    assert all(">99 %" in chart for chart in charts)
