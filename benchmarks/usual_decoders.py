"""The usual ways to 16 frames of a file as RGB of a given size, as their own documentation shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marey.errors import UsageError
from marey.video import require_decoder

Pictures = npt.NDArray[np.uint8]
"""(T, H, W, 3), or (T, 3, H, W) of TorchCodec."""

Way = Callable[[Path, Sequence[int], tuple[int, int], int], Pictures]
"""From a file, the numbers of its frames, a size (H, W) and the number of threads."""


def decord(path: Path, numbers: Sequence[int], size: tuple[int, int], threads: int) -> Pictures:
    """Decode with decord, whose reader resizes."""
    import decord as library

    reader = library.VideoReader(str(path), height=size[0], width=size[1], num_threads=threads)
    return np.asarray(reader.get_batch(list(numbers)).asnumpy())


def torchcodec(path: Path, numbers: Sequence[int], size: tuple[int, int], threads: int) -> Pictures:
    """Decode with TorchCodec, which resizes and looks at all packets first, by default."""
    from torchcodec import decoders, transforms

    resize = transforms.Resize(size)  # type: ignore[attr-defined]
    decoder = decoders.VideoDecoder(  # type: ignore[attr-defined]
        str(path), num_ffmpeg_threads=threads, transforms=[resize]
    )
    return np.asarray(decoder.get_frames_at(list(numbers)).data.numpy())


def opencv(path: Path, numbers: Sequence[int], size: tuple[int, int], threads: int) -> Pictures:
    """All frames are read, and those that are wanted converted and resized."""
    import cv2

    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
    found: list[npt.NDArray[Any]] = []
    wanted, number = set(numbers), 0
    while len(found) < len(wanted) and capture.grab():
        if number in wanted:
            found.append(cv2.cvtColor(cv2.resize(capture.retrieve()[1], size[::-1]), cv2.COLOR_BGR2RGB))
        number += 1
    return np.stack(found)


def opencv_seeks(path: Path, numbers: Sequence[int], size: tuple[int, int], threads: int) -> Pictures:
    """Each frame is sought by its number."""
    import cv2

    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
    found = []
    for number in numbers:
        capture.set(cv2.CAP_PROP_POS_FRAMES, number)
        found.append(cv2.cvtColor(cv2.resize(capture.read()[1], size[::-1]), cv2.COLOR_BGR2RGB))
    return np.stack(found)


def pyav(path: Path, numbers: Sequence[int], size: tuple[int, int], threads: int) -> Pictures:
    """All frames are decoded, and those that are wanted converted and resized."""
    import av

    wanted, found = set(numbers), []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "AUTO", threads
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                found.append(frame.to_ndarray(height=size[0], width=size[1], format="rgb24"))
            if len(found) == len(wanted):
                break
    return np.stack(found)


WAYS: Final[dict[str, tuple[str, Way]]] = {
    "decord": ("decord", decord),
    "TorchCodec": ("torchcodec", torchcodec),
    "OpenCV, reading all": ("cv2", opencv),
    "OpenCV, seeking": ("cv2", opencv_seeks),
    "PyAV, reading all": ("av", pyav),
}
"""By name: the module that has to be installed, and the way."""


def installed_ways() -> tuple[dict[str, Way], dict[str, str]]:
    """Return the ways that can be gone here, and why the others cannot, by name."""
    left_out = {name: "it is not installed" for name, (module, _) in WAYS.items() if find_spec(module) is None}
    if "TorchCodec" not in left_out:
        try:
            require_decoder("torchcodec")
        except UsageError as error:
            left_out["TorchCodec"] = str(error)
    if find_spec("cv2") is not None:
        import cv2

        library: Any = cv2
        library.setNumThreads(1)  # of resizing, which is one picture's work
    return {name: way for name, (_, way) in WAYS.items() if name not in left_out}, left_out
