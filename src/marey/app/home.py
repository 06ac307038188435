"""Script that Streamlit runs for each visitor of the page."""

from __future__ import annotations

import traceback
from importlib import resources
from pathlib import Path

import streamlit as st

from marey.app import predict_page, runs_page, text, theme, train_page
from marey.errors import MareyError


def main() -> None:
    """Show the selected page."""
    static = resources.files("marey.app") / "static"
    st.set_page_config(page_title="marey", page_icon=Path(str(static / "mark.svg")), layout="wide")
    st.html(f"<style>{theme.CSS}</style>")
    st.logo((static / "logo.svg").read_text(encoding="utf-8"), size="large")
    pages = {
        "predict": st.Page(predict_page.page, title="Predict", url_path="predict", default=True),
        "runs": st.Page(runs_page.page, title="Runs", url_path="runs"),
        "train": st.Page(train_page.page, title="Train", url_path="train"),
    }
    st.session_state["pages"] = pages
    chosen = st.navigation(list(pages.values()), position="top")
    try:
        chosen.run()
    except (MareyError, OSError) as error:
        st.error(text.escape(text.message(error)))
    except Exception as error:
        traceback.print_exc()
        st.error(
            f"This is a bug in marey, not a fault of your input: {text.escape(repr(error))}. The log has the traceback."
        )


main()
