"""Options that several commands share: their types, with their explanations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from marey.commands.registry import Help

StrPath = str | Path

Data = Annotated[
    StrPath, Help("a folder of class folders, a manifest (CSV or Parquet), or the name of a data set.", cli=str)
]
RecipeName = Annotated[StrPath, Help("the name of a built-in recipe (see `marey recipes`), or a YAML file.", cli=str)]
Changes = Annotated[
    Sequence[str] | Mapping[str, Any] | None,
    Help(
        "changes a key of the recipe: sampling.count=32; may be repeated. In Python, a mapping works too. "
        "`marey recipes keys` explains all keys.",
        cli=list[str] | None,
    ),
]
Epochs = Annotated[
    int | None,
    Help("the largest number of epochs, of a recipe that trains in epochs; short for --set training.epochs=N."),
]
Folds = Annotated[
    str | int | None,
    Help(
        '"group" tests on each group once (leave one group out); a number makes so many folds by group; '
        "by default one split.",
        cli=str | None,
    ),
]
GroupRegex = Annotated[
    str | None,
    Help("takes the group of a clip from the first capture of this expression in its path, or names a known pattern."),
]
Exclude = Annotated[
    StrPath | None,
    Help("a quarantine list, as `marey data scan` writes it: its clips are left out, and counted."),
]
Device = Annotated[str, Help("the device: auto, cpu or cuda.")]
Devices = Annotated[
    int | None,
    Help(
        "number of GPUs, or of processes on the CPU, that train one model together on each machine; by default as many "
        "as torchrun started, else one. For recipes that train on frames."
    ),
]
Nodes = Annotated[int, Help("number of machines that train together; torchrun or srun starts the command on each.")]
Engine = Annotated[
    str | None,
    Help(
        "the engine that runs the encoder: auto (the fastest here), pytorch, openvino, onnxruntime or cuda; "
        "by default the value of MAREY_ENGINE, else auto."
    ),
]
On = Annotated[
    str | None,
    Help(
        '"ray" divides the clips among actors on a Ray cluster: the one that RAY_ADDRESS names, else the one that this '
        'machine belongs to, else one of its own cores; "ray://HOST:PORT" is one elsewhere. Needs the extra ray.'
    ),
]
Actors = Annotated[
    int | None, Help("with --on, the number of actors; by default as many as the cluster has CPUs or GPU shares for.")
]
GpuShare = Annotated[
    float | None, Help("with --on, the share of a GPU that an actor takes, from 0.05 to 1; by default 1.")
]
IfExists = Annotated[
    Literal["resume", "restart"],
    Help('what to do with an earlier run in the same folder: "resume" continues it, "restart" replaces it.'),
]
FrameOrder = Literal["original", "reversed", "shuffled"]
PerClass = Annotated[
    bool, Help("show precision, recall, F1 and support of each class, with their macro and weighted averages.")
]
OnError = Annotated[
    Literal["fail", "skip"],
    Help('what to do with clips that cannot be used: "fail", or "skip" and list them in left_out.csv.'),
]
Window = Annotated[
    float | None,
    Help("length of the sliding window in seconds; by default the length of the training clips, at most 2."),
]
Stride = Annotated[float | None, Help("seconds from one window to the next; each frame is encoded only once.")]
Smooth = Annotated[float | None, Help("seconds over which probabilities are averaged.")]
MinDuration = Annotated[float | None, Help("shortest segment in seconds.")]

OLD_FRAME_ORDER = {"frame_order": {"given": "original"}}
OLD_ON_ERROR = {"on_error": {"stop": "fail", "leave-out": "skip"}}


def changes_of(given: Sequence[str] | Mapping[str, Any] | None, **shortcuts: Any) -> list[str]:
    """Return changes of a recipe as a list of "key=value".

    Args:
        given: such a list, one such string, or a mapping.
        shortcuts: key -> value or None, a double underscore in place of each dot: `training__epochs`.
    """
    if isinstance(given, str):
        given = [given]
    elif isinstance(given, Mapping):
        given = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in given.items()]
    short = [f"{key.replace('__', '.')}={value}" for key, value in shortcuts.items() if value is not None]
    return [*(given or ()), *short]
