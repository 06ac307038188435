"""Pictures a second of every engine that is installed, beside what the processor can do at most.

The limit is a large float32 matrix product: of its operations a second each engine reaches a share. Engines take turns,
so that what disturbs the machine for a moment disturbs all of them.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from functools import partial
from typing import Final

import torch

from ceilings import picture_flops, product_rate
from marey.encoders import EncoderSpec, installed_engines, load_encoder
from measure import Line, Setting, cache_in, seconds

RATIOS: Final = ("engine_auto_efficientnet", "engine_auto_resnet50")

_NETWORKS: Final = {
    "efficientnet": EncoderSpec(name="efficientnet-lite0", weights="random"),
    "resnet50": EncoderSpec(name="resnet50", weights="random"),
}
_PICTURES: Final = 16
_TARGET: Final = 0.9  # of the fastest: auto has to find it


def measure(setting: Setting) -> list[Line]:
    """Time each engine on two networks, and what `auto` takes; then the share of the limit that each reaches."""
    lines = [Line("matrix product", (product_rate() / 1e9,), "GFLOPS")]
    with cache_in(setting.work / "engines"):
        for name, spec in _NETWORKS.items():
            lines += _of_network(name, spec, max(5, setting.repeat))
    return lines


def _of_network(name: str, spec: EncoderSpec, repeat: int) -> list[Line]:
    encoders = {engine: load_encoder(spec, engine=engine) for engine in (*installed_engines(), "auto")}
    pictures = torch.randint(0, 256, (1, _PICTURES, 3, *encoders["auto"].size), dtype=torch.uint8)
    rates: dict[str, list[float]] = defaultdict(list)
    for _ in range(repeat):
        for engine, encoder in encoders.items():
            rates[engine].append(_PICTURES / seconds(partial(encoder.encode_clips, pictures)))
    lines = []
    limit = product_rate() / picture_flops(spec)
    for engine, found in rates.items():
        lines.append(Line(f"{name}, {engine}", tuple(found), "pictures/s"))
        lines.append(Line(f"{name}, {engine}, of the matrix product", tuple(rate / limit for rate in found), ""))
    best = max(installed_engines(), key=lambda engine: statistics.median(rates[engine]))
    shares = tuple(rate / other for rate, other in zip(rates["auto"], rates[best], strict=True))
    lines.append(Line(f"engine_auto_{name}", shares, "x", at_least=_TARGET))
    return lines
