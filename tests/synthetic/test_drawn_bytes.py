"""Drawn data has the same bytes on every machine: whatever its CPU, its PyAV and its number of processes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from marey.data.importers.write import write_lossless
from marey.synthetic import FRAME_RATE, draw, make
from marey.video import VideoWriter, encode, write_video

ONE_ACTOR = "4eeea342fe84db45ebd2daf1a9f4211352c9a493f740d3c3ebbb99925e57b970"
"""SHA-256 over the names and bytes of the six clips of actor 1 in scenario d1, seed 0."""

CORE = b"x264 - core 165 "
"""The encoder whose bytes are on record: that in the wheels of PyAV 17 to 19."""

INSTRUCTIONS = ("sse4.2", "avx2", "0")
"""Of libx264: two sets that a CPU may have, and none."""


def digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.mp4")):
        found.update(path.relative_to(folder).as_posix().encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def use_only(patch: pytest.MonkeyPatch, instructions: str) -> None:
    params = f"{encode.X264_PARAMS.partition(':asm')[0]}:asm={instructions}"
    patch.setattr(encode, "X264_PARAMS", params)


@pytest.fixture(scope="module")
def one_actor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one-actor")
    make(folder, actors=1, scenarios=("d1",), workers=1)
    return folder


def test_a_drawn_set_has_the_bytes_on_record(one_actor: Path) -> None:
    if CORE not in next(one_actor.rglob("*.mp4")).read_bytes():
        pytest.skip("PyAV was built with another libx264 than the one whose bytes are on record")
    assert digest(one_actor) == ONE_ACTOR


def test_drawn_clips_have_the_same_bytes_whatever_instructions_the_encoder_uses(
    one_actor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = next(one_actor.rglob("*walking*.mp4")).read_bytes()
    frames = draw("walking", actor=1, scenario="d1")
    for instructions in INSTRUCTIONS:
        use_only(monkeypatch, instructions)
        write_video(tmp_path / "walking.mp4", frames, frame_rate=FRAME_RATE)
        assert (tmp_path / "walking.mp4").read_bytes() == drawn, instructions


@pytest.mark.long
def test_drawn_clips_have_the_same_bytes_in_three_processes(one_actor: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from marey.synthetic import FRAME_RATE, draw; from marey.video import write_video;"
        "write_video(sys.argv[1], draw('walking', actor=1, scenario='d1'), frame_rate=FRAME_RATE)"
    )
    drawn = next(one_actor.rglob("*walking*.mp4")).read_bytes()
    for capability in ("default", "avx2", "avx512"):  # the instructions of PyTorch, which draws the frames
        path = tmp_path / f"{capability}.mp4"
        environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
        subprocess.run([sys.executable, "-c", script, str(path)], check=True, env=environment)  # noqa: S603 - ours
        assert path.read_bytes() == drawn, capability


def shaken(function: np.ufunc, generator: np.random.Generator) -> Callable[..., Any]:
    """Return a function that another CPU could have: its last bit is another one, at times."""

    def other(values: Any) -> Any:
        found = function(values)
        return found * (1 + np.spacing(1.0) * generator.integers(-1, 2, np.shape(found)))

    return other


def test_drawn_frames_do_not_depend_on_the_last_bit_of_a_sine(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = draw("running", actor=5, scenario="d3")
    generator = np.random.default_rng(0)
    for function in (np.sin, np.cos, np.exp):
        monkeypatch.setattr(np, function.__name__, shaken(function, generator))
    assert torch.equal(draw("running", actor=5, scenario="d3"), frames)


def test_imported_and_annotated_video_has_the_same_bytes_whatever_instructions_the_encoder_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), np.uint8)
    digests = set()
    for instructions in INSTRUCTIONS:
        use_only(monkeypatch, instructions)
        write_lossless(tmp_path / "lossless.mp4", frames, frame_rate=25)
        with VideoWriter(tmp_path / "annotated.mp4", size=(48, 64), frame_rate=25) as writer:
            for number, frame in enumerate(frames):
                writer.write(frame, time=number / 25)
        digests.add(digest(tmp_path))
    assert len(digests) == 1
