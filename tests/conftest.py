"""Small real videos whose every frame says which one it is.

Each picture carries its index as a bar code along its upper edge, so that a test can prove *which* frame was
decoded, whatever the size, the codec or the turn of the picture.
"""

from __future__ import annotations

import gc
import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: the suite shares its machine
if os.environ.get("MAREY_TEST_GPU") != "1":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # answers are compared to 1e-5, and a GPU adds up in another order
os.environ.pop("MAREY_PLUGINS", None)  # what is tested is marey alone
os.environ.setdefault("MAREY_ENGINE", "pytorch")  # a trial for each small network would take longer than its tests

import shutil
import signal
import sys
import wave
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.audio.stream import AudioStream

from skips import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401 - hooks

if TYPE_CHECKING:
    import torch  # not here: the process that hands out the tests would wait for it

gc.disable()  # until all tests are imported: see pytest_collection_finish
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what it runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what was imported: walking through it takes a second each time."""
    gc.freeze()
    gc.enable()


CODE_BITS = 10
CODE_HEIGHT = 0.25  # of the picture

Picture = npt.NDArray[np.uint8]


class MakeVideo(Protocol):
    """The call of the fixture `make_video`."""

    def __call__(
        self,
        path: Path,
        *,
        seconds: float = 2.0,
        frame_rate: float = 25.0,
        size: tuple[int, int] = (120, 160),
        codec: Literal["libx264", "mpeg4"] = "libx264",
        rotation: int = 0,
        mirrored: bool = False,
        pts: Sequence[float] | None = None,
        audio: bool = False,
        moving: bool = True,
        gop: int = 12,
        b_frames: int = 0,
    ) -> Path: ...


def draw(index: int, size: tuple[int, int], *, moving: bool = True) -> Picture:
    """The picture of a frame: its index in bars above, below them a bright square that walks to the right."""
    height, width = size
    picture = np.full((height, width, 3), 60, np.uint8)
    edges = np.linspace(0, width, CODE_BITS + 1).round().astype(int)
    for bit in range(CODE_BITS):
        picture[: round(height * CODE_HEIGHT), edges[bit] : edges[bit + 1]] = 255 * (index >> bit & 1)
    side = height // 4
    left = (4 * index) % max(1, width - side) if moving else 0
    picture[height // 2 : height // 2 + side, left : left + side] = (230, 180, 40)
    return picture


def read(frame: torch.Tensor | Picture) -> int:
    """The index that a decoded frame (C, H, W) shows."""
    picture = np.asarray(frame).mean(axis=0)
    height, width = picture.shape
    row = picture[: round(height * CODE_HEIGHT * 0.8)].mean(axis=0)
    centres = ((np.arange(CODE_BITS) + 0.5) * width / CODE_BITS).astype(int)
    return sum(1 << bit for bit, centre in enumerate(centres) if row[centre] > 127)


def encode(
    path: Path,
    *,
    seconds: float = 2.0,
    frame_rate: float = 25.0,
    size: tuple[int, int] = (120, 160),
    codec: Literal["libx264", "mpeg4"] = "libx264",
    rotation: int = 0,
    mirrored: bool = False,
    pts: Sequence[float] | None = None,
    audio: bool = False,
    moving: bool = True,
    gop: int = 12,
    b_frames: int = 0,
) -> Path:
    """Write a video and return its path.

    Args:
        path: the file; its suffix chooses the container.
        seconds: duration; with `pts` their number decides.
        frame_rate: of the stream; every frame lasts as long, unless `pts` are given.
        size: (height, width) of the upright picture.
        codec: encoder.
        rotation: clockwise turn in degrees that a player has to make; pictures are stored turned (mp4, mov).
        mirrored: whether a player has to exchange left and right before that; they are stored exchanged.
        pts: the presentation time in seconds of each frame (not in avi).
        audio: add a tone.
        moving: let the square walk; the bar code changes in any case.
        gop: frames from one keyframe to the next.
        b_frames: frames between two references.
    """
    times = list(pts) if pts is not None else [i / frame_rate for i in range(round(seconds * frame_rate))]
    rate = Fraction(frame_rate).limit_denominator(1001)
    turns = rotation // 90
    height, width = size if turns % 2 == 0 else (size[1], size[0])
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.thread_count = 1
        if pts is not None:
            stream.codec_context.time_base = Fraction(1, 90_000)
        if codec == "libx264":
            stream.options = {"preset": "veryfast", "crf": "18", "bf": str(b_frames), "sc_threshold": "0"}
        else:
            stream.bit_rate = 2_000_000
        sound = _add_tone(container) if audio else None
        for index, time in enumerate(times):
            picture = np.rot90(draw(index, size, moving=moving), turns)
            picture = np.ascontiguousarray(picture[:, ::-1] if mirrored else picture)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base = Fraction(1, 90_000) if pts is not None else 1 / rate
            frame.pts = round(time * 90_000) if pts is not None else index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _encode_tone(container, sound, times[-1] + 1 / frame_rate)
    if rotation or mirrored:
        _state_orientation(path, rotation, mirrored)
    return path


def _add_tone(container: Any) -> AudioStream:
    stream: AudioStream = container.add_stream("mp2" if container.format.name == "avi" else "aac", rate=44_100)
    return stream


def _encode_tone(container: Any, stream: AudioStream, seconds: float) -> None:
    size = stream.codec_context.frame_size or 1024
    for first in range(0, int(44_100 * seconds), size):
        wave_form = np.sin((first + np.arange(size)) * 2 * np.pi * 440 / 44_100)
        samples = (12_000 * np.stack([wave_form, wave_form])).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).copy(), format="s16", layout="stereo")
        frame.sample_rate, frame.pts = 44_100, first
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _state_orientation(path: Path, rotation: int, mirrored: bool) -> None:
    """Write the display matrix of a clockwise turn into the track header of an mp4 or mov file."""
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[rotation]
    sign = -1 if mirrored else 1
    first = [sign * cos << 16, sign * sin << 16, 0]
    matrix = np.array([*first, -(sin << 16), cos << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + len(matrix)] = matrix
    path.write_bytes(data)


@pytest.fixture(scope="session")
def make_video() -> MakeVideo:
    """A function that encodes a small real video; its arguments are those of `encode`."""
    return encode


@pytest.fixture(scope="session")
def two_rates(tmp_path_factory: pytest.TempPathFactory, make_video: MakeVideo) -> Path:
    """A folder with steady.mp4, 50 frames in 2 s, and slower.mp4, 25 frames in 1 s and 25 more in 2.44 s."""
    folder = tmp_path_factory.mktemp("rates") / "recordings"
    folder.mkdir()
    make_video(folder / "steady.mp4", seconds=2, frame_rate=25, size=(48, 64))
    times = [number / 25 for number in range(25)] + [1 + number / 10 for number in range(25)]
    make_video(folder / "slower.mp4", pts=times, size=(48, 64))
    return folder


@pytest.fixture(scope="session")
def read_index() -> Callable[[torch.Tensor | Picture], int]:
    """A function from a decoded frame (3, H, W) to the index that its bar code shows."""
    return read


@pytest.fixture(scope="session")
def make_tone() -> Callable[[Path], Path]:
    """A function that writes half a second of sound, without any picture, as a wav file."""

    def make(path: Path) -> Path:
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8_000, 0, "NONE", "not compressed"))
            file.writeframes((8_000 * np.sin(np.arange(4_000) / 5)).astype("<i2").tobytes())
        return path

    return make


@pytest.fixture(scope="session")
def torchcodec() -> None:
    """TorchCodec, with FFmpeg's shared libraries; a test that needs it is skipped where it cannot read video."""
    from marey.errors import UsageError
    from marey.video import require_decoder

    try:
        require_decoder("torchcodec")
    except UsageError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real clips beside the project; a test that needs it is skipped where it is missing."""
    folder = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real clips are not here: {folder}")
    return folder.resolve()


SMALL_RECIPE = (
    "sampling.count=4",
    "encoder.name=mobilenetv3_small_050",
    "encoder.weights=random",
    "encoder.size=64",
    "encoder.grid=[2, 2]",
)
"""Changes to a recipe that make a run of a dozen clips take a second."""


class Outcome(NamedTuple):
    """What a call of the program left: its exit code, and what it wrote to standard output and error."""

    code: int
    out: str
    err: str


class CallMarey(Protocol):
    """The call of the fixture `call_marey`."""

    def __call__(self, *arguments: str | Path) -> Outcome: ...


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Features and named data sets lie in the suite's own folders, and never in the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAREY_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("MAREY_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session", autouse=True)
def current_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder, in which every test runs."""
    folder = tmp_path_factory.mktemp("current")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder
    check_empty(folder)


@pytest.fixture(autouse=True)
def _leaves_the_current_folder_empty(current_folder: Path) -> Iterator[None]:
    yield
    check_empty(current_folder)


def check_empty(folder: Path) -> None:
    """Fail the test that left something in the current folder, and empty the folder for those after it."""
    left = sorted(path.name for path in folder.iterdir())
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    assert not left, f"left in the current folder: {', '.join(left)}"


@pytest.fixture
def call_marey(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CallMarey:
    """A function that runs the program in this process, with the given arguments."""
    from marey.cli import main

    def call(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["marey", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        written = capsys.readouterr()
        return Outcome(code, written.out, written.err)

    return call


@pytest.fixture(scope="session")
def small_changes() -> list[str]:
    """Changes to a recipe that make a run of a dozen clips take a second."""
    return list(SMALL_RECIPE)


@pytest.fixture(scope="module")
def own_extensions() -> Iterator[None]:
    """Forget the extensions that a module of tests loads: other tests list those of the process."""
    from marey import extensions
    from marey.encoders import registry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extensions, "_EXTENSIONS", {})
        patch.setattr(registry, "_BY_NAME", dict(registry._BY_NAME))
        yield
        for each in extensions._EXTENSIONS.values():
            sys.modules.pop(each.module, None)  # so that the next module registers it again


@pytest.fixture(scope="session")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with two actions of six drawn people, a second each; not to be changed."""
    from marey.synthetic import FRAME_RATE, draw
    from marey.video import write_video

    root = tmp_path_factory.mktemp("clips")
    for action in ("boxing", "walking"):
        (root / action).mkdir()
        for actor in range(1, 7):
            frames = draw(action, actor=actor, duration=1.0)
            write_video(root / action / f"person{actor:02d}_{action}_d1_uncomp.mp4", frames, frame_rate=FRAME_RATE)
    return root


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, small_set: Path, small_changes: list[str]) -> Path:
    """The folder of a finished run on `small_set`, with two streams; not to be changed."""
    from marey import commands

    out = tmp_path_factory.mktemp("runs") / "small"
    commands.train(str(small_set), recipe="default-0.1", out=out, set=small_changes)
    return out
