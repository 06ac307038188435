"""How far the accuracy of a head that is trained in epochs depends on its seed, and what averaging seeds does to that.

The recipe `bilstm` is trained on the data that is given, leaving one group out, in ten runs of five seeds each. It is
run by name: `python benchmarks/bench.py --only seeds`. Features are taken from the cache where they are.
"""

from __future__ import annotations

import statistics
from typing import Final

import marey
from measure import Line, Setting

RUNS: Final = 10
SEEDS: Final = 5  # of each run
_SHARE: Final = 0.5  # of the spread of one seed, that an average may have
_HELD: Final = 9  # runs of ten whose interval holds the mean of all


def measure(setting: Setting) -> list[Line]:
    """Train the runs, and compare the accuracy of their averages with that of their first seeds."""
    averages, singles, held = [], [], []
    for number in range(RUNS):
        run = marey.train(
            setting.data,
            recipe="bilstm",
            set=[f"training.seeds={SEEDS}"],
            folds="group",
            seed=1000 * number,
            out=setting.work / f"seeds-{number}",
        )
        seeds, interval = run.metrics.seeds, run.metrics.interval
        if seeds is None or interval is None or interval.accuracy is None:
            setting.left_out["seeds"] = "the data has too few groups for an interval"
            return []
        averages.append(float(run.metrics.values["accuracy"] or 0))
        singles.append(float(seeds.accuracy[0]))
        held.append(interval.accuracy)
    mean = statistics.mean(averages)
    holds = sum(low <= mean <= high for low, high in held)
    one, average = statistics.stdev(singles), statistics.stdev(averages)
    lines = [
        Line("seeds, accuracy of one", tuple(singles), "accuracy"),
        Line(f"seeds, accuracy of the average of {SEEDS}", tuple(averages), "accuracy"),
        Line("seeds_held", (holds,), f"of {RUNS} intervals that hold the mean of all", at_least=_HELD),
    ]
    if one:
        lines.append(Line("seeds_spread", (average / one,), "spread of averages : of one seed", at_most=_SHARE))
    return lines
