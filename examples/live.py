"""Label a live stream: python examples/live.py [RUN SOURCE].

SOURCE is the number of a camera, rtsp://..., http(s)://..., "-" for a pipe, or a file. Ctrl-C ends it.
"""

from __future__ import annotations

import sys

import drawn
import marey


def main() -> None:
    """Print a line whenever the action changes."""
    run, source = sys.argv[1:] or [str(drawn.model()), str(drawn.long_video())]
    model = marey.Predictor(run)
    current: str | None = None
    answers = 0
    try:
        for answer in model.stream(source):
            answers += 1
            if answer.label != current:
                current = answer.label
                print(f"{answer.time:6.2f} s  {current or '-':<14} {answer.confidence:.2f}", flush=True)
                print(f"          latency {answer.latency:.2f} s, {answer.dropped} frames dropped", flush=True)
    except KeyboardInterrupt:
        pass
    print(f"{answers} answers")


if __name__ == "__main__":
    main()
