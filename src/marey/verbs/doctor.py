"""`marey doctor`: whether all that marey needs is here and works."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        ok: whether it is as it should be.
        detail: what was found.
    """

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Health:
    """What `doctor` answers."""

    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether everything works."""
        return all(finding.ok for finding in self.findings)

    def as_dict(self) -> list[dict[str, Any]]:
        """For JSON."""
        return [{"name": f.name, "ok": f.ok, "detail": f.detail} for f in self.findings]


def doctor() -> Health:
    """Check the installation: packages, processor, GPU, video, encoder and cache; says what to do about a fault."""
    looks: list[tuple[str, Callable[[], str]]] = [
        ("packages", _packages),
        ("processor", _processor),
        ("GPU", _gpu),
        ("video", _video),
        ("encoder", _encoder),
        ("engines", _engines),
        ("cache", _cache),
    ]
    findings = []
    for name, look in looks:
        try:
            findings.append(Finding(name, ok=True, detail=look()))
        except Exception as error:
            findings.append(Finding(name, ok=False, detail=f"{type(error).__name__}: {error}"))
    return Health(tuple(findings))


def _packages() -> str:
    from marey.verbs.results import versions

    return versions()["versions"]


def _processor() -> str:
    import torch

    from marey.cores import machine_cores, usable_cores

    cores = f"{usable_cores()} of {machine_cores()} cores usable"
    return f"{cores}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none that PyTorch sees; everything runs on the processor"
    return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))


def _video() -> str:
    import torch

    from marey.video import decode, probe, write_video

    with TemporaryDirectory() as folder:
        path = Path(folder) / "check.mp4"
        greys = torch.arange(0, 200, 20, dtype=torch.uint8).view(10, 1, 1, 1)
        write_video(path, greys.expand(10, 3, 64, 64), frame_rate=10)
        info = probe(path)
        value = float(decode(path, [0.55]).data.float().mean())
    if abs(value - 100) > 8:
        raise RuntimeError(f"a grey of 100 was written, and {value:.0f} read back; reinstall PyAV")
    return f"writes and reads {info.codec}"


def _encoder() -> str:
    import torch

    from marey.encoders import EMBEDDED, EncoderSpec, load_encoder

    rates = []
    for precision in ("float32", "bfloat16"):
        encoder = load_encoder(EncoderSpec(precision=precision))
        clip = torch.zeros(1, 2, 3, *encoder.size, dtype=torch.uint8)  # few: bfloat16 may be very slow
        encoder.encode_clips(clip)
        began = time.perf_counter()
        encoder.encode_clips(clip)
        rates.append(clip.shape[1] / (time.perf_counter() - began))
    advice = "bfloat16 pays here" if rates[1] > 1.1 * rates[0] else "stay with float32 here"
    return f"{EMBEDDED}: {rates[0]:.0f} pictures a second in float32, {rates[1]:.0f} in bfloat16 ({advice})"


def _engines() -> str:
    from marey.encoders import EMBEDDED, TOLERANCE, EncoderSpec, agrees, installed_engines, load_encoder
    from marey.extras import install_command

    if len(installed_engines()) == 1:
        return f"pytorch alone; others are often twice as fast on a CPU: {install_command('fast')}"
    encoder = load_encoder(EncoderSpec(), engine="auto")
    found = []
    for name, measured in encoder.trial.items():
        if measured.fault:
            found.append(f"{name} {measured.fault}")
            continue
        verdict = "agrees" if agrees(measured, "float32") else "does not agree"
        found.append(f"{name} {measured.rate:.0f} pictures a second and core ({verdict}: {measured.error:.0e})")
    return (
        f"auto takes {encoder.engine} for {EMBEDDED}: {', '.join(found)}; largest difference from PyTorch's features, "
        f"in parts of their deviation, of which {TOLERANCE['float32']:g} is allowed"
    )


def _cache() -> str:
    from marey.encoders import cache_home

    home = cache_home()
    home.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=home):
        pass
    files = list((home / "features").glob("*/*.safetensors"))
    return f"{home}: {len(files):,} entries, {sum(path.stat().st_size for path in files) / 2**20:,.1f} MiB"
