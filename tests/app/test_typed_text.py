"""Tests that every typed text gets a plain answer, with Streamlit's own test runner."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from marey.app.settings import Settings
from marey.errors import UsageError

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

HOME = Path(__file__).parents[2] / "src" / "marey" / "app" / "home.py"
SECONDS = 120
OpenPage = Callable[..., "AppTest"]
URL = "URL of a video, a page or a stream"


class _Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, and writes no log."""

    def log_message(self, *_: object) -> None:
        pass


def _train() -> None:
    from marey.app import train_page

    train_page.page()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, small_run: Path) -> Path:
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(small_run, folder / "small")
    return folder


@pytest.fixture
def open_page(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenPage:
    """Return a function that opens the page "predict" or "train" as `marey app` shows it on this machine."""
    testing = pytest.importorskip("streamlit.testing.v1", reason="the page is not tested: streamlit is not installed")
    for name, value in Settings(models, tmp_path / "page", local=True).to_environment().items():
        monkeypatch.setenv(name, value)

    def open_it(name: str) -> AppTest:
        made = (
            testing.AppTest.from_file(str(HOME), default_timeout=SECONDS)
            if name == "predict"
            else testing.AppTest.from_function(_train, default_timeout=SECONDS)
        )
        page: AppTest = made.run()
        return page

    return open_it


def send(page: AppTest, field: str, text: str, button: str) -> list[str]:
    """Type a text, press a button, and return the errors on the page, without the escapes of Markdown."""
    fields: list[Any] = [*page.text_input, *page.text_area]
    next(each for each in fields if each.label == field).input(text)
    next(each for each in page.button if each.label == button).click()
    page.run()
    return errors(page)


def errors(page: AppTest) -> list[str]:
    assert not page.exception
    shown = [each.value.replace("\\", "") for each in page.error]
    assert not any("bug in marey" in each or "Traceback" in each for each in shown)
    return shown


NO_PATHS = {
    "nowhere/at all": "there is no {kind} {here}/nowhere/at all: check the spelling",
    "~nobody-is-called-so/x": "there is no {kind} {here}/~nobody-is-called-so/x: check the spelling",
    "https://example.org/x": "https://example.org/x lies on another machine, and this page opens files of its own",
    "![x](http:evil)": "there is no {kind} {here}/![x](http:evil): check the spelling",
    "a\0b": "a\N{REPLACEMENT CHARACTER}b cannot be a path: ",
    "x" * 300: f"{'x' * 120}... cannot be a path: File name too long",
}


@pytest.mark.parametrize(
    ("name", "field", "button", "kind"),
    [
        ("train", "Path of a folder", "Open", "folder"),
        ("predict", "Path of a video", "Open", "file"),
    ],
)
def test_a_wrong_path_is_named(open_page: OpenPage, name: str, field: str, button: str, kind: str) -> None:
    page = open_page(name)
    for text, sentence in NO_PATHS.items():
        (shown,) = send(page, field, text, button)
        assert shown.startswith(sentence.format(kind=kind, here=Path.cwd()))  # the end depends on the version of Python


def test_a_folder_without_class_folders_says_why(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page("train")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.mp4").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, sentence in {
        "file.mp4": "file.mp4 is not a folder: name the one that holds the class folders",
        "empty": "no videos in the class folders of",
        "": "holds 1 video but no class folders",  # the loop of links is passed over
    }.items():
        (shown,) = send(page, "Path of a folder", f"  {tmp_path / name} ", "Open")
        assert sentence in shown


def test_a_file_that_is_not_a_video_says_why(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page("predict")
    (tmp_path / "notes.mp4").write_text("a text", encoding="utf-8")
    for path, sentence in {tmp_path / "notes.mp4": "it is not a video", tmp_path: "it is a folder"}.items():
        (shown,) = send(page, "Path of a video", str(path), "Open")
        assert sentence in shown


def test_a_set_that_is_deleted_while_it_is_shown_is_named(open_page: OpenPage, small_set: Path, tmp_path: Path) -> None:
    shutil.copytree(small_set, tmp_path / "set")
    page = open_page("train")
    assert send(page, "Path of a folder", str(tmp_path / "set"), "Open") == []
    shutil.rmtree(tmp_path / "set")
    next(each for each in page.text_input if each.label == "Regular expression").input("kth")
    page.run()
    assert errors(page) == [f"there is no folder {tmp_path / 'set'}: check the spelling"]


@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
def test_a_wrong_group_expression_says_why_and_can_be_corrected(open_page: OpenPage, small_set: Path) -> None:
    page = open_page("train")
    assert send(page, "Path of a folder", str(small_set), "Open") == []

    def write(expression: str) -> list[str]:
        next(each for each in page.text_input if each.label == "Regular expression").input(expression)
        page.run()
        return errors(page)

    for text, sentence in {
        "person((": "is not a regular expression",
        "(" * 3000 + ")" * 3000: "is not a regular expression",
        "(a{99999999999})": "is not a regular expression",
        "[" * 50: "is not a regular expression",
        "person": "captures nothing",
        r"nobody(\d+)": "finds no group in 12 of 12 clips",
    }.items():
        (shown,) = write(text)
        assert sentence in shown
    assert write(r"(person\d+)") == []


@pytest.mark.long
def test_a_wrong_change_to_the_recipe_says_why_and_starts_no_training(
    open_page: OpenPage, small_set: Path, tmp_path: Path
) -> None:
    page = open_page("train")
    assert send(page, "Path of a folder", str(small_set), "Open") == []
    for text, sentence in {
        "training.epochs": "'training.epochs' changes nothing; write key=value",
        "training.epoch=3": "no key is called 'training.epoch'; did you mean 'epochs'?",
        "training.epochs=[1": "is not YAML",
        "training.epochs=" + "[" * 3000: "is nested more than 32 levels deep",
        "training.epochs=2024-13-45": "Input should be a valid integer",
        "training.epochs=0x_": "is not YAML",
        "a\0=b": "no key is called",
    }.items():
        (shown,) = send(page, "One change a line", text, "Train")
        assert sentence in shown
    assert not (tmp_path / "page" / "trainings").exists()


def test_a_damaged_file_of_the_app_is_named_where_it_is_needed(
    open_page: OpenPage, small_set: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "page" / "corrections" / "corrections.csv"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("a,b\n1,2\n", encoding="utf-8")
    video = sorted((small_set / "boxing").iterdir())[0]
    (shown,) = send(open_page("predict"), "Path of a video", str(video), "Open")
    assert f"{damaged} has no column 'path'" in shown


def test_an_unknown_home_folder_is_an_ordinary_name() -> None:
    from marey.app.storage import typed_path
    from marey.data import load_data
    from marey.errors import DatasetError

    assert typed_path(" ~nobody-is-called-so ") == Path.cwd() / "~nobody-is-called-so"
    with pytest.raises(DatasetError, match="'~nobody-is-called-so' is no folder, no manifest and no name"):
        load_data("~nobody-is-called-so")
    with pytest.raises(UsageError, match="cannot be a path"):
        typed_path("a\0b")


def test_a_video_at_a_url_is_fetched_and_predicted_and_can_be_downloaded(open_page: OpenPage, small_set: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(small_set)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        video = sorted(small_set.rglob("*.mp4"))[0].relative_to(small_set)
        page = open_page("predict")
        url = f"http://127.0.0.1:{server.server_address[1]}/{video.as_posix()}"
        assert send(page, URL, url, "Fetch") == []
    finally:
        server.shutdown()
        server.server_close()
    assert any(each.value.replace("\\", "") == url for each in page.caption)
    downloads: list[Any] = list(page.get("download_button"))
    assert [each.label for each in downloads] == ["Annotated video"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("clip.mp4", "'clip.mp4' is no URL that starts with http://, https://, rtsp:// or rtmp://"),
        ("srt://127.0.0.1/a", "no URL scheme is called 'srt'"),
        ("http://127.0.0.1:9/a.mp4", "cannot be used: there is no such file"),
    ],
)
def test_a_url_that_cannot_be_fetched_gets_its_reason(open_page: OpenPage, url: str, message: str) -> None:
    (shown,) = send(open_page("predict"), URL, url, "Fetch")
    assert message in shown


def test_a_page_that_others_reach_takes_no_url(
    open_page: OpenPage, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in Settings(models, tmp_path / "page", local=False).to_environment().items():
        monkeypatch.setenv(name, value)
    assert not any(each.label == URL for each in open_page("predict").text_input)


def test_the_classes_of_a_model_are_shown_with_an_example_each_which_can_be_predicted(open_page: OpenPage) -> None:
    page = open_page("predict")
    next(each for each in page.toggle if each.label == "Show the 2 classes of this model").set_value(True).run()
    assert errors(page) == []
    assert [each.value for each in page.markdown if each.value in ("**boxing**", "**walking**")] == [
        "**boxing**",
        "**walking**",
    ]
    chosen = [each for each in page.button if each.label == "Predict it"]
    assert len(chosen) == 2
    chosen[1].click().run()
    assert errors(page) == []
    assert any("walking" in each.value for each in page.caption)
