"""Label videos and write them again with the labels on their frames: python examples/predict.py [RUN VIDEO...]."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import drawn
import marey


def main() -> None:
    """Print the three most probable classes of each video, and write annotated videos and chronophotographs."""
    run, *videos = sys.argv[1:] or [str(drawn.model()), *map(str, sorted(drawn.clips().rglob("person06*.mp4"))[:3])]
    model = marey.Predictor(run)
    for prediction in model.predict(videos, threshold=0.4):
        if prediction.reason is not None:
            print(f"{prediction.source}: cannot be used: {prediction.detail}")
            continue
        top = ", ".join(f"{label} {probability:.2f}" for label, probability in prediction.top(3))
        print(f"{prediction.source}: {prediction.label or 'none of the classes'} ({top})")

    out = Path("runs/examples/annotated")
    shutil.rmtree(out, ignore_errors=True)
    written = marey.predict(run, videos, annotate=out)
    print(f"annotated videos: {', '.join(str(path) for path in written.written)}")


if __name__ == "__main__":
    main()
