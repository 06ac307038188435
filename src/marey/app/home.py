"""The script that Streamlit runs for everyone who opens the page."""

from __future__ import annotations

import traceback
from importlib import resources
from pathlib import Path

import streamlit as st

from marey.app import look, recognise, runs, teach, words
from marey.errors import MareyError


def main() -> None:
    """Choose the page, and show it."""
    static = resources.files("marey.app") / "static"
    st.set_page_config(page_title="marey", page_icon=Path(str(static / "mark.svg")), layout="wide")
    st.html(f"<style>{look.RULES}</style>")
    st.logo((static / "logo.svg").read_text(encoding="utf-8"), size="large")
    pages = {
        "recognise": st.Page(recognise.page, title="Recognise", url_path="recognise", default=True),
        "runs": st.Page(runs.page, title="Runs", url_path="runs"),
        "teach": st.Page(teach.page, title="Teach", url_path="teach"),
    }
    st.session_state["pages"] = pages
    chosen = st.navigation(list(pages.values()), position="top")
    try:
        chosen.run()
    except (MareyError, OSError) as error:
        st.error(words.plain(words.sentence(error)))
    except Exception as error:
        traceback.print_exc()
        st.error(f"This is a fault of marey, not of your input: {words.plain(repr(error))}. Its log says where.")


main()
