"""From files to labels: ResNet50 beside the usual way, ResNet50 and EfficientNet-Lite0 beside what bounds them.

The limit is the slower of decoding alone and encoding alone, each on all cores in the best way that marey has. Decoding
and encoding share the cores, so that only what one of them leaves idle can hide the other.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import torch
from torch import Tensor

from ceilings import ffmpeg_seconds, picture_flops, product_rate
from marey.cores import usable_cores
from marey.data import Clip, load_data
from marey.encoders import Contract, Encoder, FeatureCache, load_encoder, read_clip
from marey.models import ActionModel, HeadSpec, ModelConfig, new_classifier
from marey.prediction import Predictor
from marey.training import load_recipe
from marey.video import probe
from measure import Line, Setting, seconds
from samples import copies, made_files

NETWORKS: Final = {"resnet50": "resnet50", "lite0": "efficientnet-lite0"}
_FILES: Final = ("", "_mpeg4", "_1080p")
RATIOS: Final = (
    *(f"resnet50_labels{file}" for file in _FILES),
    *(f"{name}_limit{file}" for name in NETWORKS for file in _FILES),
)

_LABELS_TARGET: Final = 4.0
_LIMIT_TARGET: Final = 0.85
_CLASSES: Final = 6
_PICTURES: Final = 16
_REAL_CLIPS: Final = 8
_COPIES: Final = 4  # of a file that is made
_CORES: Final = usable_cores()


def measure(setting: Setting) -> list[Line]:
    """Time all ways by turns, on real clips and on copies of the made files."""
    usual = _usual(setting)
    lines = [Line("a matrix product, float32", (product_rate() / 1e9,), "GFLOPS")]
    for file, paths in _sources(setting).items():
        alone = ffmpeg_seconds(paths[0])
        if alone is not None:
            lines.append(Line(f"ffmpeg decodes all of one file{_of(file)}", (alone,)))
        for short, name in NETWORKS.items():
            lines += _measure(short, name, file, paths, setting, usual if short == "resnet50" else None)
    return lines


def make_predictor(encoder: Encoder, contract: Contract, head: HeadSpec) -> Callable[[FeatureCache], Predictor]:
    """Return a function from a cache to a predictor with an untrained head, at the cost of a trained one."""
    labels = tuple(f"class {number}" for number in range(_CLASSES))
    config = ModelConfig(contract=contract, head=head, labels=labels)
    model = ActionModel(config, new_classifier(contract, head, _CLASSES).eval())
    return lambda cache: Predictor(model, encoder=encoder, cache=cache)


def _sources(setting: Setting) -> dict[str, list[Path]]:
    clips = [clip.path for clip in load_data(str(setting.data)).clips]
    sources = {"": clips[:: max(1, len(clips) // _REAL_CLIPS)][:_REAL_CLIPS]}
    for name, path in made_files(setting.work).items():
        sources[f"_{name}"] = copies(path, _COPIES, setting.work / "copies")
    return sources


def _usual(setting: Setting) -> Callable[[Path], Tensor] | None:
    if find_spec("cv2") is None:
        setting.left_out["resnet50_labels"] = "OpenCV is not installed: pip install opencv-python-headless"
        return None
    from usual_torch import labeller

    return labeller(_CLASSES, frames=_PICTURES)


def _measure(
    short: str, name: str, file: str, paths: Sequence[Path], setting: Setting, usual: Callable[[Path], Tensor] | None
) -> list[Line]:
    weights = "pretrained" if name == "efficientnet-lite0" else "random"
    recipe = load_recipe("frame-average", changes=(f"encoder.name={name}", f"encoder.weights={weights}"))
    encoder = load_encoder(recipe.encoder, frames=_PICTURES)
    contract = encoder.contract(sampling=recipe.sampling, streams=recipe.streams, fit=recipe.fit)
    predictor = make_predictor(encoder, contract, recipe.head)
    clips = [Clip(path) for path in paths]
    pictures = [read_clip(clip, contract)["appearance"] for clip in clips]

    def label() -> None:
        before = encoder.images
        found = predictor(FeatureCache(mkdtemp(dir=setting.work))).predict(paths)
        if any(prediction.label is None for prediction in found):
            raise SystemExit(f"not labelled: {[prediction.detail for prediction in found if prediction.reason]}")
        if encoder.images - before != _PICTURES * len(paths):
            raise SystemExit(f"{encoder.images - before} pictures were encoded for {len(paths)} clips")

    label()
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(setting.repeat):
        times["marey"].append(seconds(label) / len(paths))
        if usual is not None:
            times["usual way"].append(seconds(lambda: [usual(path) for path in paths]) / len(paths))
        times["decode only"].append(seconds(lambda: _decode(clips, contract)) / len(paths))
        times["encode only"].append(_encode(pictures, encoder) / len(paths))
    return _lines(short, encoder, file, paths, times)


def _decode(clips: Sequence[Clip], contract: Contract) -> None:
    with ThreadPoolExecutor(_CORES) as pool:
        list(pool.map(lambda clip: read_clip(clip, contract), clips))


def _encode(pictures: Sequence[Tensor], encoder: Encoder) -> float:
    """Seconds of the better of two ways: each clip on all cores, and a clip a core."""
    together = seconds(lambda: [encoder.encode_clips(clip.unsqueeze(0)) for clip in pictures])
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(_CORES, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        apart = seconds(lambda: list(pool.map(lambda clip: encoder.encode_clips(clip.unsqueeze(0)), pictures)))
    torch.set_num_threads(threads)  # PyTorch takes what a thread sets for that of threads to come
    return min(together, apart)


def _lines(short: str, encoder: Encoder, file: str, paths: Sequence[Path], times: dict[str, list[float]]) -> list[Line]:
    of = f"{short}{_of(file)}"
    lines = [Line(f"{of}: {what}", tuple(runs), "s a clip") for what, runs in times.items()]
    least = _PICTURES * picture_flops(encoder.spec) / product_rate()
    lines.append(
        Line(
            f"{of}: encoding at the speed of a matrix product",
            (least,),
            "s a clip",
            note=f"{_PICTURES} x {picture_flops(encoder.spec) / 1e9:.2f} GFLOP",
        )
    )
    duration = statistics.fmean(probe(path).duration for path in paths)
    lines.append(Line(f"{of}: times real time", tuple(duration / took for took in times["marey"]), "x"))
    if "usual way" in times:
        ratios = tuple(theirs / ours for theirs, ours in zip(times["usual way"], times["marey"], strict=True))
        highest = statistics.median(times["usual way"]) / least
        note = f"the matrix product alone would allow {highest:.1f}x, were decoding free"
        lines.append(Line(f"{short}_labels{file}", ratios, "x", at_least=_LABELS_TARGET, note=note))
    shares = [
        (max(decode, encode) / ours, (decode + encode) / ours)
        for ours, decode, encode in zip(times["marey"], times["decode only"], times["encode only"], strict=True)
    ]
    both = statistics.median(summed for _, summed in shares)
    lines.append(
        Line(
            f"{short}_limit{file}",
            tuple(share for share, _ in shares),
            "x",
            at_least=_LIMIT_TARGET,
            note=f"of decoding and encoding one after the other it is {both:.2f}; engine: {encoder.engine}",
        )
    )
    return lines


def _of(file: str) -> str:
    return f", {file.removeprefix('_')}" if file else ""
