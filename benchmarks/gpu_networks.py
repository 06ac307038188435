"""Inputs a second of four networks on a device: eager, channels last, CUDA graphs, compiled; beside its roofline."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import timm
import torch
from torch import Tensor, nn
from torchvision.models.video import mvit_v2_s

from marey.errors import first_line
from measure import Line, Setting
from roofline import Roofline, measure_roofline, timed, wait

_TARGET: Final = 0.6  # of the roofline, in bfloat16


@dataclass(frozen=True, slots=True)
class Network:
    """A network that is measured.

    Attributes:
        name: for the table.
        make: returns it with random weights.
        shape: of one input.
        batch: inputs at once.
        aimed: whether it has the target.
    """

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batch: int
    aimed: bool = False


NETWORKS: Final = (
    Network("lite0", partial(timm.create_model, "efficientnet_lite0", num_classes=0), (3, 224, 224), 512),
    Network("resnet50", partial(timm.create_model, "resnet50", num_classes=0), (3, 224, 224), 256, aimed=True),
    Network("vit-b", partial(timm.create_model, "vit_base_patch16_224", num_classes=0), (3, 224, 224), 256, aimed=True),
    Network("mvit-v2-s", mvit_v2_s, (3, 16, 224, 224), 16),
)
RATIOS: Final = tuple(f"gpu_roofline_{network.name}" for network in NETWORKS if network.aimed)


def measure_networks(setting: Setting) -> list[Line]:
    """Measure each network in float32 and bfloat16, in all ways that the device has."""
    device = torch.device(setting.device)
    roofline = measure_roofline(device, quick=setting.quick)
    lines = [
        Line("a matrix product, bfloat16", (roofline.product / 1e12,), "TFLOPS"),
        Line("a copy in memory", (roofline.copy / 1e9,), "GB/s"),
    ]
    for network in NETWORKS:
        lines += _measure(network, roofline, device, setting)
    return lines


@torch.inference_mode()
def _measure(network: Network, roofline: Roofline, device: torch.device, setting: Setting) -> list[Line]:
    torch.manual_seed(0)
    batch = torch.randn(1 if setting.quick else network.batch, *network.shape)
    module = network.make().eval()
    lines: list[Line] = []
    best = 0.0
    for precision in (torch.float32, torch.bfloat16):
        placed = deepcopy(module).to(device, precision)
        inputs = batch.to(device, precision)
        name = f"{network.name}, {str(precision).removeprefix('torch.')}"
        for way, start in _ways(network, setting).items():
            try:
                run = start(placed, inputs)
                rate = len(inputs) / timed(run, device)
            except Exception as error:
                setting.left_out[f"{name}, {way}"] = first_line(error)
                continue
            lines.append(Line(f"{name}, {way}", (rate,), "inputs/s", note=f"{len(inputs)} at once"))
            best = max(best, rate) if precision is torch.bfloat16 else best
    least = roofline.seconds(placed, inputs) / len(inputs)
    lines.append(Line(f"{network.name}, at the roofline", (1 / least,), "inputs/s"))
    target = _TARGET if network.aimed and device.type == "cuda" else None
    return [*lines, Line(f"gpu_roofline_{network.name}", (best * least,), "x", at_least=target)]


_Start = Callable[[nn.Module, Tensor], Callable[[], Any]]


def _ways(network: Network, setting: Setting) -> dict[str, _Start]:
    """Return the ways to run a network: name -> from it and a batch on its device to a function that runs it."""
    ways: dict[str, _Start] = {"eager": _eager}
    if len(network.shape) == 3:
        ways["channels last"] = _channels_last
    if setting.device == "cuda":
        ways["CUDA graph"] = _graph
    if not setting.quick:
        ways["compiled"] = _compiled
    return ways


def _eager(network: nn.Module, batch: Tensor) -> Callable[[], Any]:
    return partial(network, batch)


def _channels_last(network: nn.Module, batch: Tensor) -> Callable[[], Any]:
    return partial(network.to(memory_format=torch.channels_last), batch.contiguous(memory_format=torch.channels_last))


def _graph(network: nn.Module, batch: Tensor) -> Callable[[], Any]:
    if batch.ndim == 4:
        batch = batch.contiguous(memory_format=torch.channels_last)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what is set up on the first calls cannot be recorded
        for _ in range(3):
            network(batch)
    torch.cuda.current_stream().wait_stream(side)
    wait(batch.device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        network(batch)
    return graph.replay


def _compiled(network: nn.Module, batch: Tensor) -> Callable[[], Any]:
    torch.compiler.reset()
    compiled = torch.compile(network, mode="max-autotune-no-cudagraphs" if batch.is_cuda else None)
    compiled(batch)
    return partial(compiled, batch)
