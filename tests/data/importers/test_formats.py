from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import marey.data
from marey.data import ClipSet, ClipSource, ImportOptions, detect_format, read_source
from marey.data.importers import IMPORTERS, register_importer
from marey.data.importers.write import Image
from marey.errors import DatasetError


def frames(source: Path) -> Iterator[Image]:
    yield np.full((4, 4), len(source.read_text()), np.uint8)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """An importer of one more format."""
    for name in IMPORTERS:
        monkeypatch.setitem(IMPORTERS, name, IMPORTERS[name])  # restores the registry afterwards
    monkeypatch.setitem(IMPORTERS, "stills", IMPORTERS["arrays"])

    @register_importer("stills", summary="a .still file", detect=lambda source: source.suffix == ".still")
    def read(source: Path, options: ImportOptions) -> ClipSet:
        clip = ClipSource("a", options.classes[0], None, None, partial(frames, source), source, 0.0)
        return ClipSet((clip,), (), {"source": str(source)})


@pytest.mark.usefixtures("registered")
def test_a_registered_importer_is_detected_and_read(tmp_path: Path) -> None:
    source = tmp_path / "a.still"
    source.write_text("four")
    assert detect_format(source) == "stills"
    found = read_source(str(source), ImportOptions(classes=("run",)))
    assert isinstance(found, ClipSet)
    assert found.clips[0].label == "run"
    assert next(found.clips[0].frames()).max() == 4


@pytest.mark.usefixtures("registered")
def test_a_registered_importer_is_named_where_no_importer_reads_a_source(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(DatasetError, match=r"is no form of a data set that is imported: .*; a \.still file"):
        detect_format(tmp_path / "a.txt")
    with pytest.raises(DatasetError, match="is not there"):
        detect_format(tmp_path / "none")
    with pytest.raises(DatasetError, match=r"holds neither images nor \.npy files"):
        detect_format(tmp_path)


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (("features.json",), "feature folder"),
        (("a.npy", "features.csv"), "feature folder"),
        (("a.npy", "list.csv"), "feature folder"),
        (("a/b.npy",), "feature folder"),
        (("a.npy", "b.npy"), "arrays"),
        (("run/a/1.png",), "frame folders"),
    ],
)
def test_a_folder_is_detected_by_its_files(tmp_path: Path, files: tuple[str, ...], name: str) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert detect_format(tmp_path) == name


@pytest.mark.parametrize("suffix", [".pkl", ".PICKLE", ".npz"])
def test_a_file_of_arrays_is_detected_by_its_suffix(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").touch()
    assert detect_format(tmp_path / f"a{suffix}") == "arrays"


@pytest.mark.parametrize(
    ("old", "new"), [("NewClip", "ClipSource"), ("form_of", "detect_format"), ("survey_pixels", "infer_pixel_format")]
)
def test_a_former_name_still_works_with_a_warning(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"is now called marey.data.{new}"):
        assert getattr(marey.data, old) is getattr(marey.data, new)
