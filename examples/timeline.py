"""Find out what happens when in a long video, with a sliding window: python examples/timeline.py [RUN VIDEO]."""

from __future__ import annotations

import sys

import drawn
import marey
from marey.prediction import Segmentation


def main() -> None:
    """Print the segments of a video, and the classes at one time."""
    run, video = sys.argv[1:] or [str(drawn.model()), str(drawn.long_video())]
    model = marey.Predictor(run)
    timeline = model.timeline(
        video,
        segmentation=Segmentation(stride=0.4, threshold=0.4, min_duration=1.0),  # seconds, and a probability
        on_progress=lambda share: print(f"\r{share:4.0%}", end="", file=sys.stderr),
    )
    print(f"\n{video}: {timeline.duration:.1f} s, windows of {timeline.window:.1f} s")
    for segment in timeline.segments:
        print(f"{segment.start:6.2f} - {segment.end:6.2f} s  {segment.label:<14} {segment.confidence:.2f}")
    middle = timeline.duration / 2
    print(f"at {middle:.1f} s:", ", ".join(f"{label} {share:.2f}" for label, share in timeline.at(middle)[:3]))


if __name__ == "__main__":
    main()
