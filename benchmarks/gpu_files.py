"""From files to labels on a device: cores that decode feed it, and which of the two bounds."""

from __future__ import annotations

import importlib
import statistics
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import torch

from labels import make_predictor
from marey.cores import usable_cores
from marey.data import Clip
from marey.encoders import Contract, FeatureCache, load_encoder, read_clip
from marey.errors import first_line
from marey.training import load_recipe
from marey.video import Sampling, probe
from measure import Line, Setting, seconds
from roofline import wait
from samples import copies, made_files

_PICTURES: Final = 16
_COPIES: Final = 4  # of each file, a core
_TARGET: Final = 0.85
_NETWORKS: Final = ("efficientnet-lite0", "resnet50")
RATIOS: Final = tuple(f"gpu_labels_{network}_{file}" for network in _NETWORKS for file in ("mpeg4", "1080p"))


def measure_files(setting: Setting) -> list[Line]:
    """Time clips to labels with both networks, in bfloat16 on a GPU, beside decoding alone and encoding alone."""
    device = torch.device(setting.device)
    files = made_files(setting.work)
    lines = []
    for file in ("mpeg4",) if setting.quick else ("mpeg4", "1080p"):
        count = 2 if setting.quick else _COPIES * usable_cores()
        paths = copies(files[file], count, setting.work / "copies")
        for network in _NETWORKS:
            lines += _measure(network, file, paths, device, setting)
        lines += _decoded_on_gpu(file, paths, setting)
    return lines


def _measure(network: str, file: str, paths: list[Path], device: torch.device, setting: Setting) -> list[Line]:
    precision = "bfloat16" if device.type == "cuda" else "float32"
    changes = (f"encoder.name={network}", "encoder.weights=random", f"encoder.precision={precision}")
    recipe = load_recipe("frame-average", changes=changes)
    encoder = load_encoder(recipe.encoder, frames=_PICTURES, device=device)
    contract = encoder.contract(sampling=recipe.sampling, streams=recipe.streams, fit=recipe.fit)
    predictor = make_predictor(encoder, contract, recipe.head)
    clips = [Clip(path) for path in paths]
    pictures = torch.cat([read_clip(clip, contract)["appearance"] for clip in clips]).unsqueeze(0)

    def label() -> None:
        found = predictor(FeatureCache(mkdtemp(dir=setting.work))).predict(paths)
        if any(prediction.label is None for prediction in found):
            raise SystemExit(f"not labelled: {[prediction.detail for prediction in found if prediction.reason]}")

    def encode() -> None:
        encoder.encode_clips(pictures)
        wait(device)

    label()
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(setting.repeat):
        times["files to labels"].append(seconds(label) / len(paths))
        times["decode only"].append(seconds(partial(_decode, clips, contract)) / len(paths))
        times["encode only"].append(seconds(encode) / len(paths))
    of = f"{network}, {file}, {precision}"
    decoding, encoding = (statistics.median(times[part]) for part in ("decode only", "encode only"))
    bound = "decoding" if decoding > encoding else "encoding"
    ratios = tuple(
        max(decode, encode) / whole for whole, decode, encode in zip(*(times[part] for part in times), strict=True)
    )
    return [
        *(Line(f"{of}: {what}", tuple(1 / run for run in runs), "clips/s") for what, runs in times.items()),
        Line(
            f"gpu_labels_{network}_{file}",
            ratios,
            "x",
            at_least=_TARGET if device.type == "cuda" else None,
            note=f"of the slower part, which is {bound}; {usable_cores()} cores decode",
        ),
    ]


def _decode(clips: list[Clip], contract: Contract) -> None:
    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(lambda clip: read_clip(clip, contract), clips))


def _decoded_on_gpu(file: str, paths: list[Path], setting: Setting) -> list[Line]:
    """Return the clips a second that TorchCodec decodes on the GPU, if it can."""
    name = f"{file}: decode only, TorchCodec on the GPU"
    if setting.device != "cuda" or find_spec("torchcodec") is None:
        setting.left_out[name] = "there is no GPU" if setting.device != "cuda" else "TorchCodec is not installed"
        return []
    times = Sampling(count=_PICTURES).timestamps(0.0, probe(paths[0]).duration, path=paths[0])

    def decode() -> None:
        decoders: Any = importlib.import_module("torchcodec.decoders")
        for path in paths:
            decoders.VideoDecoder(str(path), device="cuda").get_frames_played_at(list(times))
        wait(torch.device("cuda"))

    try:
        decode()
    except Exception as error:
        setting.left_out[name] = first_line(error)
        return []
    return [Line(name, tuple(len(paths) / seconds(decode) for _ in range(setting.repeat)), "clips/s")]
