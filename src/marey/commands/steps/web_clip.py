"""A web video as a clip: fetched into a temporary file, and named by its URL."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from marey.commands.steps.outputs import Outputs
from marey.data import Clip
from marey.errors import UsageError
from marey.progress import Reporter
from marey.video import WEB_SUFFIX, fetch_video, is_live


@contextmanager
def fetched_clip(
    sources: Sequence[str], mode: str, outputs: Outputs, *, seconds: float | None, reporter: Reporter
) -> Iterator[tuple[Clip, str]]:
    """Fetch the video at a URL; yield the clip and its name, the URL without a password; remove the file at the end.

    Raises:
        UsageError: several sources, no URL of HTTP, another mode, outputs that cannot be written, or a live stream
            without `seconds`.
        VideoError: it cannot be fetched.
    """
    if mode != "clip":
        raise UsageError(f"--download labels a web video as a clip: for --mode {mode}, leave it out to watch it live")
    if len(sources) != 1 or not is_live(sources[0]):
        raise UsageError("--download fetches the video at one URL: http(s)://..., rtsp://... or rtmp://...")
    if seconds is not None and not seconds > 0:
        raise UsageError(f"max_seconds={seconds:g}: it has to be more than 0")
    stem = Path(urlsplit(sources[0]).path).stem or "video"
    with tempfile.TemporaryDirectory(prefix="marey-web-") as folder:
        clip = Clip(Path(folder) / f"{stem[:60]}{WEB_SUFFIX}")
        outputs.check([clip])  # before the work
        with reporter.stage("fetching, seconds of video", 1) as stage:
            name = fetch_video(
                sources[0], clip.path, seconds=seconds, on_progress=lambda done: stage.advance(0, f"{done:.0f} s")
            )
        yield clip, name
