"""Tests of the page with a real server and a real browser."""

from __future__ import annotations

import csv
import re
import shutil
import zipfile
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from page_server import chromium, open_page, served

from marey.synthetic import FRAME_RATE, draw
from marey.video import write_video
from waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.long  # a browser, a server and its models: a minute


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, small_run: Path) -> tuple[Path, Path]:
    """Return the folders of models and of data."""
    root = tmp_path_factory.mktemp("page")
    shutil.copytree(small_run, root / "models" / "small")
    return root / "models", root / "data"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(folders: tuple[Path, Path], browser: Browser) -> Iterator[str]:
    with served(*folders) as where:
        yield where


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    opened = open_page(browser, address)
    yield opened
    opened.context.close()


def upload(page: Page, *paths: Path) -> None:
    page.locator("input[type=file]").first.set_input_files([str(path) for path in paths])


def playing(page: Page, video: Any) -> bool:
    """Wait until a video plays: it has frames, and its time advances."""
    handle = video.element_handle()
    page.wait_for_function("video => video.readyState >= 2 && video.videoWidth > 0", arg=handle)
    handle.evaluate("video => { video.muted = true; return video.play(); }")
    page.wait_for_function("video => video.currentTime > 0.1", arg=handle)
    return True


def test_an_uploaded_clip_is_labelled_and_plays_with_its_answer(page: Page, small_set: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    upload(page, small_set / "boxing" / "person03_boxing_d1_uncomp.mp4")
    label = page.locator(".marey-answer strong")
    label.wait_for()
    assert label.inner_text() in ("boxing", "walking")
    assert page.locator(".marey-bars li").count() == 2
    assert playing(page, page.get_by_test_id("stVideo").first)
    page.get_by_role("tab", name="Chronophotograph").click()
    page.get_by_role("img", name="chronophotograph of the clip").wait_for()
    foreign = [url for url in asked if not url.startswith((page.url.rstrip("/"), "data:", "blob:"))]
    assert not foreign


def test_a_text_file_named_mp4_shows_its_reason(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "![x](http:evil).mp4"
    path.write_text("a text", encoding="utf-8")
    upload(page, path)
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "cannot be used: it is not a video" in alert.inner_text()
    assert "![x](http:evil).mp4" in alert.inner_text()
    assert "not_video" in alert.inner_text()


@pytest.mark.long
def test_of_several_clips_the_usable_ones_are_predicted(page: Page, small_set: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    upload(page, small_set / "walking" / "person01_walking_d1_uncomp.mp4", tmp_path / "empty.mp4")
    page.locator(".marey-answer strong").wait_for()
    page.get_by_test_id("stDataFrame").wait_for()


@pytest.mark.long
def test_a_camera_recording_is_predicted(page: Page) -> None:
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Record").click()
    page.get_by_text("recording: 1 of").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.locator(".marey-answer strong").wait_for()
    assert playing(page, page.get_by_test_id("stVideo").first)


def test_a_corrected_label_is_written_to_the_manifest(page: Page, small_set: Path, folders: tuple[Path, Path]) -> None:
    upload(page, small_set / "boxing" / "person05_boxing_d1_uncomp.mp4")
    page.locator(".marey-answer strong").wait_for()
    choice = page.get_by_role("combobox", name="Correct label")
    choice.click()
    choice.press("Control+a")
    choice.press_sequentially("shadow boxing", delay=30)
    page.get_by_role("option", name="Add: shadow boxing").wait_for()
    choice.press("Enter")
    page.get_by_role("button", name="Save for the next training").click()
    page.get_by_text("Saved as").wait_for()
    manifest = folders[1] / "corrections" / "corrections.csv"
    (row,) = csv.DictReader(manifest.read_text(encoding="utf-8").splitlines())
    assert (row["label"], row["group"]) == ("shadow boxing", "person05")
    assert (manifest.parent / row["path"]).read_bytes() == (
        small_set / "boxing" / "person05_boxing_d1_uncomp.mp4"
    ).read_bytes()


def test_a_cell_of_the_confusion_matrix_opens_its_clips(page: Page) -> None:
    page.get_by_role("link", name="Runs").click()
    cell = page.get_by_role("button", name=re.compile("clips? of boxing")).first
    cell.wait_for()
    cell.focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="boxing,").wait_for()
    assert playing(page, page.get_by_test_id("stVideo").first)
    page.get_by_role("tab", name="Curves").click()
    page.locator("[data-testid=stVegaLiteChart]").first.wait_for()


@pytest.mark.long
def test_a_model_is_trained_from_a_zip_survives_a_reload_and_is_used(
    page: Page, small_set: Path, small_changes: list[str], folders: tuple[Path, Path], tmp_path: Path
) -> None:
    archive = tmp_path / "two actions.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(small_set.rglob("*.mp4")):
            file.write(path, path.relative_to(small_set))
    page.get_by_role("link", name="Train").click()
    page.get_by_role("heading", name="Train a model").wait_for()
    upload(page, archive)
    page.get_by_text("two actions.zip").wait_for()
    page.get_by_role("button", name="Unpack").click()
    train = page.get_by_role("button", name="Train", exact=True)
    train.wait_for()
    page.get_by_text("Change the recipe").click()
    page.get_by_label("One change a line").fill("\n".join(small_changes))
    train.click()
    page.get_by_role("heading", name="Training two-actions").wait_for()
    page.reload()
    use = page.get_by_role("button", name="Use it now")
    use.wait_for(timeout=1000 * PATIENCE)
    use.click()
    page.get_by_role("heading", name="Predict the action").wait_for()
    assert (folders[0] / "two-actions" / "model" / "config.json").is_file()
    assert page.get_by_role("combobox", name="Model", exact=True).input_value() == "two-actions"
    upload(page, small_set / "walking" / "person06_walking_d1_uncomp.mp4")
    page.locator(".marey-answer strong").wait_for()


@pytest.mark.long
def test_a_long_video_gets_a_timeline(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "afternoon.mp4"
    pieces = [draw(action, actor=1, duration=5.0) for action in ("boxing", "walking", "boxing")]
    write_video(path, torch.cat(pieces), frame_rate=FRAME_RATE)
    upload(page, path)
    page.locator("[data-testid=stVegaLiteChart]").wait_for()
    assert playing(page, page.get_by_test_id("stVideo"))
    with page.expect_download() as download:
        page.get_by_role("button", name="Segments as CSV").click()
    (first, *_) = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert first == "path,label,start,end,confidence"
    page.get_by_text("As one clip").click()
    page.locator(".marey-answer strong").wait_for()


@pytest.mark.long
def test_two_people_at_once_see_their_own_clips(browser: Browser, address: str, small_set: Path) -> None:
    first, second = open_page(browser, address), open_page(browser, address, width=390, height=800)
    upload(first, small_set / "boxing" / "person01_boxing_d1_uncomp.mp4")
    upload(second, small_set / "walking" / "person02_walking_d1_uncomp.mp4")
    first.get_by_text("person01_boxing_d1_uncomp.mp4", exact=True).last.wait_for()
    second.locator(".marey-answer strong").wait_for()
    first.locator(".marey-answer strong").wait_for()
    assert second.get_by_text("person01_boxing").count() == 0
    overflow = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not second.evaluate(overflow)
    for page in (first, second):
        page.context.close()


def test_the_page_shows_nothing_of_streamlit(page: Page) -> None:
    assert page.get_by_text("Deploy").count() == 0
    assert page.title() == "marey"


@pytest.mark.parametrize(("host", "status"), [("localhost", 101), ("127.0.0.1:80", 101), ("evil.example", 403)])
def test_another_site_gets_no_connection_under_its_own_name(address: str, host: str, status: int) -> None:
    connection = HTTPConnection(address.removeprefix("http://"), timeout=PATIENCE)
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    headers |= {"Host": host, "Origin": f"http://{host}", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    connection.request("GET", "/_stcore/stream", headers=headers)
    assert connection.sock is not None
    answer = connection.sock.recv(64)
    connection.close()
    assert answer.startswith(f"HTTP/1.1 {status}".encode())
