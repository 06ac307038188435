"""What a training leaves for people who watch curves: `metrics.csv`, and a file for TensorBoard."""

from __future__ import annotations

import csv
import os
import socket
import time
from pathlib import Path
from typing import Any, Final

from marey.atomic import whole_file

QUANTITIES: Final = ("train_loss", "val_loss", "val_macro_f1", "learning_rate")

History = dict[str, list[float]]
"""Name of a quantity to its value in each epoch."""


def write_logs(history: History, folder: Path, *, steps: int) -> None:
    """Write the history of a training that is over.

    TensorBoard's own writer starts a thread a training, which takes longer than training a small head does: the records
    are written by its lower half.

    Args:
        history: of each epoch; quantities without values are left out.
        folder: where; what an earlier try has left there is replaced.
        steps: of an epoch.
    """
    from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
    from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    known = {name: values for name, values in history.items() if values}
    epochs = range(len(history["train_loss"]))
    with whole_file(folder / "metrics.csv") as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["epoch", "step", *known])
        table.writerows([epoch, steps * (epoch + 1) - 1, *(known[name][epoch] for name in known)] for epoch in epochs)
    now = time.time()
    name = f"events.out.tfevents.{int(now)}.{socket.gethostname()}.{os.getpid()}"
    with whole_file(folder / name) as part, part.open("wb") as file:
        records: Any = RecordWriter(file)
        records.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
        for epoch in epochs:
            values = [Summary.Value(tag=name, simple_value=known[name][epoch]) for name in known]
            event = Event(wall_time=now, step=steps * (epoch + 1) - 1, summary=Summary(value=values))
            records.write(event.SerializeToString())
        records.flush()
