"""Page \"Train\": the user brings clips by class, and trains a model on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import streamlit as st

from marey.app import text
from marey.app.clip_sets import Corrections, OnProgress, Survey, save_folder, survey, unpack_archive, write_set
from marey.app.jobs import Job, Order, State, find_jobs, new_job, running, trainings_done
from marey.app.result_view import progress
from marey.app.settings import Settings
from marey.app.storage import new_folder, safe_name, typed_path
from marey.errors import DatasetError, MareyError, UsageError
from marey.reports import phrases
from marey.training import DEFAULT_RECIPE, load_recipe, recipe_names

_TESTS: Final = {
    "a quarter of the groups": None,
    "every group, in four folds": "4",
    "every group by itself": "group",
}
_SHOWN_FAULTS: Final = 50


def page() -> None:
    """Show the page."""
    settings = Settings.from_environment()
    st.title("Train a model on your clips")
    text.lead("Bring one folder of clips for each class. A few dozen clips of several people are enough to begin with.")
    jobs = find_jobs(settings.jobs)
    if jobs:
        _watch(jobs[0], settings)
    _inputs(settings)
    folder = st.session_state.get("set")
    if folder is not None:
        _offer(Path(folder), settings)


def _inputs(settings: Settings) -> None:
    names = ["Zip file", "Folder", *(["Folder on this machine"] if settings.local else [])]
    tabs = st.tabs(names)
    with tabs[0], st.form("zip", border=False, clear_on_submit=True):
        archive = st.file_uploader("A zip of class folders", key="zip")
        if st.form_submit_button("Unpack") and archive is not None:
            _take(lambda advance: unpack_archive(archive, archive.name, settings.sets, on_progress=advance), settings)
    with tabs[1], st.form("folder", border=False, clear_on_submit=True):
        files = st.file_uploader("A folder of class folders", accept_multiple_files="directory", key="folder")
        if st.form_submit_button("Upload") and files:
            given = [(file.name, file) for file in files]
            _take(lambda advance: save_folder(given, settings.sets, on_progress=advance), settings)
    if settings.local:
        with tabs[2], st.form("place", border=False):
            place = st.text_input("Path of a folder", placeholder="/home/me/clips")
            if st.form_submit_button("Open") and place.strip():
                _open(place)


def _open(place: str) -> None:
    st.session_state.pop("set", None)
    st.session_state.pop("survey", None)  # the folder may have changed
    try:
        st.session_state["set"] = str(typed_path(place))
    except UsageError as error:
        st.error(text.escape(str(error)))


def _take(bring: Callable[[OnProgress], Path], settings: Settings) -> None:
    try:
        with progress("Unpacking") as advance:
            folder = bring(lambda done, total: advance(done / max(1, total)))
    except (MareyError, OSError) as error:
        st.error(text.without_folders(error, str(settings.sets)))
        return
    st.session_state["set"] = str(folder)


def _offer(folder: Path, settings: Settings) -> None:
    """Show the clips of a set, and the form that trains on them."""
    st.divider()
    own = folder.is_relative_to(settings.sets)
    st.header(text.escape(folder.name), anchor=False)
    regex = st.session_state.get("group_regex", "").strip()
    try:
        found = _survey(folder, own, regex)
    except MareyError as error:
        st.error(text.without_folders(error, str(folder)) if own else text.escape(str(error)))
        if regex:
            _ask_for_groups()
        return
    _show_survey(found, folder)
    _ask_for_groups()
    _order(found, folder, settings)


def _survey(folder: Path, own: bool, regex: str) -> Survey:
    key = (folder, regex)
    known: tuple[object, Survey] | None = st.session_state.get("survey")
    if known is not None and known[0] == key:
        return known[1]
    with progress("Scanning all clips") as advance:
        found = survey(
            folder,
            within=folder if own else None,
            group_regex=regex or None,
            on_progress=lambda done, total: advance(done / max(1, total)),
        )
    st.session_state["survey"] = (key, found)
    return found


def _show_survey(found: Survey, folder: Path) -> None:
    manifest = found.manifest
    usable = found.usable
    with st.container(horizontal=True):
        st.metric("classes", len(usable), border=True, width=170)
        st.metric("usable clips", sum(usable.values()), border=True, width=230)
        st.metric("groups", len(manifest.groups), border=True, width=170, help="people, or source videos")
        st.metric("unusable files", len(found.faults), border=True, width=190)
    text.lead(manifest.grouping)
    for note in manifest.notes:
        st.caption(text.escape(note))
    rows = [{"class": label, "clips": count} for label, count in usable.items()]
    most = max(usable.values(), default=1) or 1
    column = st.column_config.ProgressColumn(format="%d", min_value=0, max_value=most)
    st.dataframe(rows, column_config={"clips": column}, hide_index=True, width=520)
    if found.faults:
        with st.expander(f"Reasons of the {phrases.count(len(found.faults), 'unusable file')}"):
            for row in found.faults[:_SHOWN_FAULTS]:
                name = Path(row.name).relative_to(folder) if Path(row.name).is_relative_to(folder) else row.name
                st.markdown(f"**{text.escape(str(name))}**: {text.escape(row.detail)} (`{row.reason}`)")
            if len(found.faults) > _SHOWN_FAULTS:
                st.caption(f"and {len(found.faults) - _SHOWN_FAULTS} more")


def _ask_for_groups() -> None:
    with st.expander("Groups: who is in the clips?"):
        st.markdown(
            "A model that is tested on people from its training set looks better than it is. Enter a regular "
            "expression whose first group finds the person or the source video in the path of a file."
        )
        st.text_input("Regular expression", placeholder=r"(\w+)_\d+", key="group_regex")


def _order(found: Survey, folder: Path, settings: Settings) -> None:
    try:
        waiting = Corrections(settings.corrections).clips()
    except DatasetError as error:
        waiting = ()
        st.warning(text.escape(str(error)))
    names = recipe_names()
    with st.form("order"):
        left, right = st.columns(2)
        name = left.text_input("Name of the model", value=safe_name(folder.name), max_chars=60)
        tested = right.selectbox("Test on", list(_TESTS), help="No group is in both the training and the test part.")
        recipe = left.selectbox("Recipe", names, index=names.index(DEFAULT_RECIPE))
        added = bool(waiting) and right.checkbox(f"Add {phrases.count(len(waiting), 'corrected clip')}", value=True)
        with st.expander("Change the recipe"):
            typed = st.text_area(
                "One change a line", placeholder="training.epochs=100\nviews.mirrored=none", key="changes", height=150
            )
        sent = st.form_submit_button("Train", type="primary")
    if not sent:
        return
    changes = tuple(line.strip() for line in typed.splitlines() if line.strip())
    try:
        load_recipe(recipe, changes=changes).require_training()
        busy = running(find_jobs(settings.jobs))
        if busy is not None:
            raise UsageError(f"'{busy.name}' is being trained: wait for it, or stop it")
        job = new_job(settings.jobs, safe_name(name))
        manifest, exclude = write_set(found, waiting if added else (), job.folder)
        out = new_folder(settings.models, job.name)
        job.write_order(Order(manifest, out, recipe, changes, _TESTS[tested], exclude))
        job.start()
    except (MareyError, OSError) as error:
        st.error(text.escape(text.message(error)))
        return
    st.rerun()


def _watch(job: Job, settings: Settings) -> None:
    """Show the state of a training; it is read again each second while it runs."""
    running_now = job.state().kind in ("waiting", "running")

    @st.fragment(run_every=1.0 if running_now else None)
    def panel() -> None:
        state = job.state()
        if running_now and state.kind not in ("waiting", "running"):
            st.rerun()
        with st.container(border=True):
            _PANELS[state.kind](job, state, settings)

    panel()


def _show_running(job: Job, state: State, settings: Settings) -> None:
    st.subheader(f"Training {text.escape(job.name)}", anchor=False)
    order = job.order()
    done, total = state.done, state.total
    if state.stage == "training":
        done, total = trainings_done(order), _trainings(order, state.total)
    count = f": {min(done, total)} of {total}" if total else ""
    st.progress(min(1.0, done / total) if total else 0.0, text=text.escape(f"{state.stage}{count} {state.note}"))
    for message in state.messages[-4:]:
        st.caption(text.escape(message))
    if st.button("Stop", key=f"stop-{job.name}"):
        job.stop()


def _trainings(order: Order, stages: int) -> int:
    recipe = load_recipe(order.recipe, changes=order.changes)
    if recipe.training.solver == "logistic":
        return stages
    each = recipe.training.inner_folds + (recipe.training.retrain == "all")
    return recipe.seed_count * (each * stages if order.folds is None else each * (stages - 1) + 1)


def _show_done(job: Job, state: State, settings: Settings) -> None:
    order = job.order()
    st.subheader(f"{text.escape(job.name)} is ready", anchor=False)
    try:
        metrics = json.loads((order.out / "metrics.json").read_text(encoding="utf-8"))
        low, high = metrics["accuracy_interval"] or (None, None)
        span = "" if low is None else f" ({low:.2f} to {high:.2f})"
        st.markdown(f"**{metrics['accuracy']:.2f}**{span} of {metrics['clips']} clips correct; {metrics['protocol']}.")
        if metrics["leaks"]["note"]:
            st.warning(f"This split leaks: {text.escape(metrics['leaks']['note'])}.")
    except (OSError, ValueError, KeyError, TypeError):
        st.caption("Its folder no longer exists.")
    for note in state.notes:
        st.caption(text.escape(note))
    name = order.out.name
    pages = st.session_state["pages"]
    with st.container(horizontal=True):
        if st.button("Use it now", type="primary"):
            st.session_state["use_model"] = name
            st.switch_page(pages["predict"])
        if st.button("Show the run"):
            st.session_state["look_at_run"] = name
            st.switch_page(pages["runs"])
        _dismiss(job)


def _show_stopped(job: Job, state: State, settings: Settings) -> None:
    st.subheader(f"{text.escape(job.name)} was stopped", anchor=False)
    st.caption("Finished parts are kept.")
    _again(job, "Resume", settings)


def _show_failed(job: Job, state: State, settings: Settings) -> None:
    st.subheader(f"{text.escape(job.name)} failed", anchor=False)
    st.error(text.escape(state.error))
    _again(job, "Try again", settings)


def _again(job: Job, label: str, settings: Settings) -> None:
    with st.container(horizontal=True):
        if st.button(label, disabled=running(find_jobs(settings.jobs)) is not None):
            job.start()
            st.rerun()
        _dismiss(job)


def _dismiss(job: Job) -> None:
    if st.button("Close", type="tertiary"):
        job.close()
        st.rerun()


_PANELS: Final = {
    "waiting": _show_running,
    "running": _show_running,
    "stopped": _show_stopped,
    "failed": _show_failed,
    "done": _show_done,
}
