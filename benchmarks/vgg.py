"""VGG16 and a bidirectional LSTM, from files to a tested model: Keras the usual way, beside the recipe vgg16-bilstm."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

from ceilings import picture_flops, product_rate
from marey.data import load_data
from marey.training import load_recipe
from measure import Line, Setting, run
from samples import ROOT

RATIOS: Final = ("keras_vgg16_bilstm",)

_TARGET: Final = 100.0
_EPOCHS: Final = 50
_TESTED: Final = 0.2  # of the clips
_CHANGES: Final = ("encoder.weights=random",)  # of the recipe: there may be no network, and the cost is the same
_FRAMES: Final = 30
_SIZE: Final = 224
_BATCH: Final = 4  # clips; 120 pictures fill 3 GB in VGG16's first block
_BATCHES: Final = 3  # measured, of one epoch
_ENVIRONMENT: Final = ROOT / ".venv-keras"
_PACKAGES: Final = ("tensorflow-cpu>=2.16", "opencv-python-headless>=4.8")
_SCRIPT: Final = Path(__file__).with_name("usual_keras.py")
_PATIENCE: Final = 1800.0  # s


@dataclass(frozen=True, slots=True)
class Usual:
    """What Keras took, in seconds.

    Attributes:
        loading: each clip, once.
        training: a clip and epoch, one figure a measured batch.
        testing: a clip.
        version: of Keras.
    """

    loading: tuple[float, ...]
    training: tuple[float, ...]
    testing: float
    version: str


def measure(setting: Setting) -> list[Line]:
    """Keras for a few batches of the second epoch, marey from the files to the tested model."""
    manifest = load_data(str(setting.data))
    clips = len(manifest.clips)
    flops = picture_flops(load_recipe("vgg16-bilstm").encoder) * _FRAMES * clips
    least = Line(
        "VGG16 once over all frames, at the speed of a matrix product",
        (flops / product_rate(),),
        note=f"{flops / 1e12:.1f} TFLOP at {product_rate() / 1e9:.0f} GFLOPS",
    )
    ours = Line(
        f"marey train, vgg16-bilstm, {_EPOCHS} epochs",
        tuple(_train(setting.data, setting.work) for _ in range(setting.repeat_cold)),
    )
    usual = train_usually(setting)
    if usual is None:
        return [least, ours]
    test = round(clips * _TESTED)
    each = tuple(
        sum(usual.loading) + _EPOCHS * (clips - test) * training + test * usual.testing for training in usual.training
    )
    how = f"of {_BATCHES} batches of {_BATCH} clips in the second of 2 epochs; the spread says how alike batches are"
    passes = (_EPOCHS * (clips - test) + test) / clips
    return [
        least,
        Line("Keras, loading a clip", usual.loading),
        Line("Keras, a clip and epoch", usual.training, note=f"Keras {usual.version}, {how}"),
        Line(f"Keras, {_EPOCHS} epochs, extrapolated", each, note=how),
        ours,
        Line(
            "keras_vgg16_bilstm",
            tuple(time / ours.value for time in each),
            "x",
            at_least=_TARGET,
            note=f"Keras sends the frames {passes:.1f} times through VGG16, marey once; "
            f"one pass at the speed of a matrix product would be {statistics.median(each) / least.value:.0f}x",
        ),
    ]


def _train(data: Path, work: Path) -> float:
    """Seconds of the command `marey train` with an empty cache."""
    folder = Path(mkdtemp(dir=work))
    changes = (*_CHANGES, f"training.epochs={_EPOCHS}", f"test={_TESTED}")
    command = [
        sys.executable,
        "-m",
        "marey",
        "train",
        str(data),
        "--recipe",
        "vgg16-bilstm",
        "--out",
        str(folder / "run"),
    ]
    for change in changes:
        command += ["--set", change]
    began = time.perf_counter()
    run(command, environment={"MAREY_CACHE": str(folder / "cache")})
    return time.perf_counter() - began


def train_usually(setting: Setting) -> Usual | None:
    """Measure Keras; None where it is not available, and `setting` then has the reason."""
    try:
        return _train_usually(_environment(), setting.data)
    except (subprocess.SubprocessError, OSError) as error:
        setting.left_out["keras_vgg16_bilstm"] = _why(error)
        return None


def _train_usually(python: Path, data: Path) -> Usual:
    manifest = load_data(str(data))
    count = _BATCHES * _BATCH
    # Those that are trained on are spread over the classes; all of them are loaded.
    spread = manifest.clips[:: max(1, len(manifest.clips) // count)][:count]
    clips = [*spread, *(clip for clip in manifest.clips if clip not in spread)]
    job: dict[str, Any] = {
        "clips": [(str(clip.path), manifest.labels.index(clip.label or "")) for clip in clips],
        "classes": len(manifest.labels),
        "frames": _FRAMES,
        "size": _SIZE,
        "batch": _BATCH,
        "epochs": 2,
        "trained": count,
    }
    done = subprocess.run(  # noqa: S603 - our own script
        [str(python), str(_SCRIPT)],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=True,
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    return Usual(
        loading=tuple(answer["loading"]),
        training=tuple(batch / _BATCH for batch in answer["batches"]),
        testing=answer["tested"],
        version=answer["keras"],
    )


def _environment() -> Path:
    """Return the Python of an environment that has Keras, and make the environment if there is none.

    Raises:
        subprocess.CalledProcessError: it cannot be made, or Keras cannot be fetched.
        OSError: likewise.
    """
    python = _ENVIRONMENT / "bin" / "python"
    complete = _ENVIRONMENT / "installed"
    if not complete.exists():
        _run_quietly(sys.executable, "-m", "venv", str(_ENVIRONMENT))
        (_ENVIRONMENT / ".gitignore").write_text("*\n", encoding="utf-8")
        _run_quietly(str(python), "-m", "pip", "install", "--quiet", *_PACKAGES)
        complete.touch()
    return python


def _run_quietly(*command: str) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - commands of the benchmark itself


def _why(error: subprocess.SubprocessError | OSError) -> str:
    said = (
        (error.stderr or "").strip().splitlines() if isinstance(error, subprocess.CalledProcessError) else [str(error)]
    )
    return f"{' '.join(map(str, getattr(error, 'cmd', ())))[:80]}: {said[-1] if said else 'it said nothing'}"
