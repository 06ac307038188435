"""`marey explain`: why a model gives its answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import marey
from conftest import CallMarey
from marey import commands
from marey.commands.explain import IMAGE, VALUES, VIDEO
from marey.errors import ModelFormatError, UsageError
from marey.video import probe


@pytest.fixture(scope="module")
def clip(small_set: Path) -> Path:
    return min(small_set.rglob("*boxing*.mp4"))


def test_an_explanation_is_a_figure_a_video_and_values(
    small_run: Path, clip: Path, tmp_path: Path, call_marey: CallMarey
) -> None:
    done = call_marey("explain", small_run, clip, "--out", tmp_path / "why")
    assert done.code == 0, done.err
    assert sorted(path.name for path in (tmp_path / "why").iterdir()) == sorted([IMAGE, VIDEO, VALUES])
    with Image.open(tmp_path / "why" / IMAGE) as image:
        assert image.width > 1000
    assert probe(tmp_path / "why" / VIDEO).duration == pytest.approx(1.0, abs=0.05)
    values = json.loads((tmp_path / "why" / VALUES).read_text())
    assert values["source"] == str(clip)
    assert sum(each["contribution"] for each in values["streams"].values()) == pytest.approx(values["margin"])
    assert len(values["when"]["contributions"]) == len(values["when"]["edges"]) - 1 == 4
    assert "alone enough" in done.out
    assert f"{values['explained']} " in done.out


def test_the_answer_as_json_is_that_of_python(small_run: Path, clip: Path, call_marey: CallMarey) -> None:
    done = call_marey("explain", small_run, clip, "--json", "--class", "walking")
    answer = marey.explain(small_run, clip, class_="walking")
    assert json.loads(done.out) == json.loads(json.dumps(answer.as_dict()))
    assert answer.explanation.explained == "walking"
    assert (answer.written, answer.unwritten) == ((), ())


def test_a_span_of_a_file_is_explained_by_its_own_times(small_run: Path, clip: Path, tmp_path: Path) -> None:
    answer = commands.explain(small_run, clip, start=0.2, end=0.8, out=tmp_path / "why", no_video=True)
    assert answer.explanation.span == (0.2, 0.8)
    assert answer.explanation.edges[[0, -1]].tolist() == pytest.approx([0.2, 0.8])
    assert {path.name for path in answer.written} == {IMAGE, VALUES}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"class_": "waving"}, "no class of this model is called 'waving'"),
        ({"start": -1.0}, "start=-1"),
        ({"start": 0.5, "end": 0.4}, "start=0.5, end=0.4"),
        ({"no_video": True}, "add --out FOLDER"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    options: dict[str, float | str | bool], said: str, small_run: Path, clip: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        commands.explain(small_run, clip, **options)  # type: ignore[arg-type]


def test_what_cannot_be_explained_is_refused_in_a_sentence(
    small_run: Path, small_set: Path, clip: Path, tmp_path: Path, call_marey: CallMarey
) -> None:
    with pytest.raises(UsageError, match="is a folder, and one clip is explained at a time"):
        commands.explain(small_run, small_set)
    with pytest.raises(ModelFormatError, match="'siglip2-zeroshot' is a recipe, and only the answers of a trained"):
        commands.explain("siglip2-zeroshot", clip)
    with pytest.raises(ModelFormatError, match="is not a model"):
        commands.explain(tmp_path, clip)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file; name a folder"):
        commands.explain(small_run, clip, out=tmp_path / "file")
    (tmp_path / "broken.mp4").write_bytes(bytes(2000))
    done = call_marey("explain", small_run, tmp_path / "broken.mp4")
    assert (done.code, "not_video" in done.err) == (3, True)
    assert "Traceback" not in done.err


def test_the_video_itself_is_never_replaced(small_run: Path, clip: Path, tmp_path: Path) -> None:
    own = tmp_path / VIDEO
    own.write_bytes(clip.read_bytes())
    with pytest.raises(UsageError, match="would take the place of the video"):
        commands.explain(small_run, own, out=tmp_path)
    assert own.read_bytes() == clip.read_bytes()
