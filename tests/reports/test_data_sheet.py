from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from marey.data import Clip, Manifest, load_data
from marey.errors import DatasetError
from marey.reports.data_sheet import write_data_sheet

TILE = (240, 646)


def test_each_class_has_a_frame_and_a_chronophotograph_of_its_own(small_set: Path, tmp_path: Path) -> None:
    shown, faults = write_data_sheet(load_data(small_set), tmp_path / "sheet.png")
    assert [(tile.label, tile.clips) for tile in shown] == [("boxing", 6), ("walking", 6)]
    assert not faults
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
    height, width = TILE
    edge, gap = width // 12, width // 20
    pairs = [sheet[edge : edge + height, left : left + width] for left in (edge, edge + width + gap)]
    for pair in pairs:
        frame, moved = pair[:, :320], pair[:, 326:]
        assert frame.std() > 5
        assert 0.5 < np.abs(frame - moved).mean() < 60  # the same scene, with more figures
    assert np.abs(pairs[0] - pairs[1]).mean() > 1


def test_the_next_clip_is_taken_where_one_cannot_be_read(small_set: Path, tmp_path: Path) -> None:
    manifest = load_data(small_set)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    broken = Clip(tmp_path / "broken.mp4", "boxing")
    seen: list[tuple[int, int]] = []
    shown, faults = write_data_sheet(
        replace(manifest, clips=(broken, *manifest.clips)), tmp_path / "a.png", on_progress=lambda *at: seen.append(at)
    )
    assert [tile.clip.path.name for tile in shown if tile.label == "boxing"] == ["person01_boxing_d1_uncomp.mp4"]
    assert [fault.reason for fault in faults] == ["not_video"]
    assert seen == [(1, 2), (2, 2)]
    with pytest.raises(DatasetError, match=r"no clip can be shown: .*not_video"):
        write_data_sheet(Manifest((broken,), tmp_path, "it", ""), tmp_path / "b.png")
    assert not (tmp_path / "b.png").exists()


def test_clips_without_labels_are_shown_under_the_names_of_their_files(small_set: Path, tmp_path: Path) -> None:
    manifest = load_data(small_set)
    clips = tuple(Clip(clip.path, start=0.2, end=0.8) for clip in manifest.clips[:2])
    shown, _ = write_data_sheet(replace(manifest, clips=clips), tmp_path / "sheet.jpg")
    assert [tile.label for tile in shown] == [clip.path.name for clip in clips]


def test_the_command_says_what_is_not_on_the_sheet(call_marey: Any, small_set: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(
        f"path,label\nabsent.mp4,waving\n{small_set / 'boxing' / 'person01_boxing_d1_uncomp.mp4'},boxing\n",
        encoding="utf-8",
    )
    done = call_marey("data", "sheet", tmp_path, "--out", tmp_path / "sheet.png")
    assert done.code == 0
    assert "not on the sheet, no clip can be read: waving" in done.out + done.err
    assert (tmp_path / "sheet.png").is_file()
    refused = call_marey("data", "sheet", tmp_path, "--out", tmp_path / "sheet.txt")
    assert refused.code == 2
