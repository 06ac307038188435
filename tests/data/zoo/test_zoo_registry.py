from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from marey.data import CATALOG, Clip, install, load_data
from marey.data.zoo import PUBLISHED, Archive, register_dataset
from marey.data.zoo.download import RemoteFile
from marey.data.zoo.registry import Files, Table


def test_a_registered_data_set_is_installed_and_loaded_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAREY_DATA", str(tmp_path / "home"))
    for registry in (CATALOG, PUBLISHED):
        for name in ("tiny", "tiny-reverse"):
            monkeypatch.setitem(registry, name, None)
    del PUBLISHED["tiny-reverse"]

    @register_dataset(
        "tiny",
        summary="two clips",
        protocol="train on one",
        page="https://example.org",
        archives=[Archive(RemoteFile("tiny.zip", ("https://example.org/tiny.zip",)), r"tiny\d\.avi")],
        variants={"reverse": "the same clips with other labels"},
    )
    def read(files: Files) -> dict[str, Table]:
        clips = [Clip(path, match[1]) for match, path in files.matching(r"tiny(\d)\.avi").items()]
        other = [Clip(path, f"not {match[1]}") for match, path in files.matching(r"tiny(\d)\.avi").items()]
        return {"": Table(tuple(clips)), "reverse": Table(tuple(other))}

    (tmp_path / "files").mkdir()
    for number in (1, 2):
        (tmp_path / "files" / f"tiny{number}.avi").touch()
    assert CATALOG["tiny-reverse"].way_to_get == "marey data get tiny-reverse"
    assert install("tiny", source=str(tmp_path / "files")).labels == ("1", "2")
    assert load_data("tiny-reverse").labels == ("not 1", "not 2")


def test_the_drawn_data_sets_are_listed_without_the_package_that_draws_them() -> None:
    code = (
        "import sys; from marey.data import CATALOG; "
        "assert 'embedded' in CATALOG; assert 'marey.synthetic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603
