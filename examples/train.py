"""Train a model on a folder of clips and test it on people that it has not seen: python examples/train.py [CLIPS].

CLIPS has one folder for each class. Without it, clips are drawn.
"""

from __future__ import annotations

import sys

import drawn
import marey


def main() -> None:
    """Cross-validate by person, and print the scores of all classes."""
    clips = sys.argv[1] if len(sys.argv) > 1 else str(drawn.clips())
    result = marey.train(
        clips,
        folds="3",  # or "group": each person is tested once
        group_regex=r"^(?:.*/)?([^/_]+)_",  # person01_walking_d1.mp4 and anna_02.mp4: what is before the first "_"
        set=["sampling.count=12", "seed=1"],  # any key of a recipe
        out="runs/examples/trained",
    )
    scores = result.metrics
    print(f"accuracy {scores.accuracy:.3f}, 95 % interval over people {scores.interval.accuracy}")
    for each in scores.classes:
        print(f"{each.label:<14} precision {each.precision}  recall {each.recall}  of {each.support} clips")
    print("the report: runs/examples/trained/report.html")


if __name__ == "__main__":
    main()
