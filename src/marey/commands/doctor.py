"""`marey doctor`: a check of the installation."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Literal

from marey.commands.registry import Line, Table, command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from marey.extensions import Extension
    from marey.extras import Extra
    from marey.video import Decoder

State = Literal["ok", "missing", "fault"]

_SYSTEM: Final = {"apt": "apt install", "brew": "brew install", "conda": "conda install -c conda-forge"}


@dataclass(frozen=True)
class Finding:
    """The finding of one check.

    Attributes:
        name: the part of the installation.
        state: "ok"; "missing": an optional part that is not here, and marey works without it; "fault".
        detail: what was found.
        install: the line that installs what is missing; None where there is none.
    """

    name: str
    state: State
    detail: str
    install: str | None = None


@dataclass(frozen=True)
class Health:
    """The answer of `doctor`."""

    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """True if nothing is at fault; optional parts may be missing."""
        return all(finding.state != "fault" for finding in self.findings)

    def as_dict(self) -> list[dict[str, Any]]:
        """Return it for JSON."""
        return [asdict(finding) for finding in self.findings]


class _MissingError(Exception):
    """An optional part that is not here, and the line that installs it."""

    def __init__(self, detail: str, install: str | None) -> None:
        super().__init__(detail)
        self.install = install


def _show(answer: Health) -> Iterator[Any]:
    table = Table(("part", "", "found"))
    styles: dict[State, Any] = {"ok": "good", "missing": "warning", "fault": "fault"}
    for finding in answer.findings:
        table.add(finding.name, Line(finding.state, styles[finding.state]), finding.detail)
    yield table
    lines = [(finding.name, finding.install) for finding in answer.findings if finding.install is not None]
    if lines:
        yield "What is missing is optional. To install it:"
    for name, line in [*lines, *_line_for_all({line for _, line in lines})]:
        yield f"  {name:<12}  {line}"


def _line_for_all(lines: set[str]) -> list[tuple[str, str]]:
    from marey.extras import EXTRAS, install_command

    extras = lines & {install_command(extra) for extra in EXTRAS}
    return [("all extras", install_command("all"))] if len(extras) > 1 else []


@command("doctor", examples=("doctor", "doctor --json"), show=_show)
def doctor() -> Health:
    """Check the installation: packages, CPU, GPU, video, encoder, cache and extensions.

    A missing optional part is not a fault: it is listed with the line that installs it.
    """
    from marey.extensions import load_extensions
    from marey.extras import EXTRAS

    own_checks = {"fast", "rar", "torchcodec"}  # engines, RAR archives, TorchCodec
    looks: list[tuple[str, Callable[[], str]]] = [
        ("packages", _packages),
        ("CPU", _cpu),
        ("GPU", _gpu),
        ("video", _video),
        ("encoder", _encoder),
        ("engines", _engines),
        ("cache", _cache),
        ("TorchCodec", _torchcodec),
        ("RAR archives", _rar),
        *((extra, partial(_extra, extra)) for extra in EXTRAS if extra not in own_checks),
        *((f"extension {each.name}", partial(_extension, each)) for each in load_extensions()),
    ]
    return Health(tuple(_finding(name, look) for name, look in looks))


def _finding(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "ok", look())
    except _MissingError as missing:
        return Finding(name, "missing", str(missing), missing.install)
    except Exception as error:
        return Finding(name, "fault", f"{type(error).__name__}: {error}")


def _packages() -> str:
    from marey.commands.steps.results import versions

    return versions()["versions"]


def _cpu() -> str:
    import torch

    from marey.cores import machine_cores, usable_cores

    cores = f"{usable_cores()} of {machine_cores()} cores usable"
    return f"{cores}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"


def _gpu() -> str:
    import torch

    from marey.extras import pip_command

    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    if torch.version.cuda is None and shutil.which("nvidia-smi"):
        command = f"{pip_command()} install --force-reinstall torch torchvision"
        raise _MissingError("an NVIDIA driver is here, and this build of PyTorch is without CUDA", command)
    raise _MissingError("none that PyTorch sees; everything runs on the CPU", None)


def _video() -> str:
    import av

    from marey.video import probe

    with TemporaryDirectory() as folder:
        path = _write_grey(Path(folder))
        value = _grey(path, "pyav")
        codec = probe(path).codec
    if abs(value - 100) > 8:
        raise RuntimeError(f"a grey of 100 was written, and {value:.0f} read back; reinstall PyAV")
    return f"writes and reads {codec}, by FFmpeg {av.ffmpeg_version_info} inside PyAV {av.__version__}"


def _write_grey(folder: Path) -> Path:
    """Write a second of video that is grey, 100 after half of it."""
    import torch

    from marey.video import write_video

    greys = torch.arange(0, 200, 20, dtype=torch.uint8).view(10, 1, 1, 1)
    write_video(folder / "check.mp4", greys.expand(10, 3, 64, 64), frame_rate=10)
    return folder / "check.mp4"


def _grey(path: Path, decoder: Decoder) -> float:
    from marey.video import decode

    return float(decode(path, [0.55], decoder=decoder).data.float().mean())


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
    return f"{EMBEDDED}: {rates[0]:.0f} images per second in float32, {rates[1]:.0f} in bfloat16 ({advice})"


def _engines() -> str:
    from marey.encoders import EMBEDDED, TOLERANCE, EncoderSpec, agrees, installed_engines, load_encoder
    from marey.extras import install_command, missing_packages

    if len(installed_engines()) == 1:
        raise _MissingError("pytorch alone; others are often twice as fast on a CPU", install_command("fast"))
    encoder = load_encoder(EncoderSpec(), engine="auto")
    found = []
    for name, measured in encoder.trial.items():
        if measured.fault:
            found.append(f"{name} {measured.fault}")
            continue
        verdict = "agrees" if agrees(measured, "float32") else "does not agree"
        found.append(f"{name} {measured.rate:.0f} images per second and core ({verdict}: {measured.error:.0e})")
    text = (
        f"auto takes {encoder.engine} for {EMBEDDED}: {', '.join(found)}; largest difference from PyTorch's features, "
        f"in parts of their deviation, of which {TOLERANCE['float32']:g} is allowed"
    )
    if missing := missing_packages("fast"):
        raise _MissingError(f"{text}; not installed: {', '.join(missing)}", install_command("fast"))
    return text


def _cache() -> str:
    from marey.encoders import cache_home

    home = cache_home()
    home.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=home):
        pass
    files = list((home / "features").glob("*/*.safetensors"))
    return f"{home}: {len(files):,} entries, {sum(path.stat().st_size for path in files) / 2**20:,.1f} MiB"


def _torchcodec() -> str:
    from importlib.metadata import version

    from marey.extras import PURPOSE, install_command, missing_packages

    if missing_packages("torchcodec"):
        detail = f"not installed: {PURPOSE['torchcodec']}; it needs FFmpeg's shared libraries too"
        raise _MissingError(detail, install_command("torchcodec"))
    name = f"TorchCodec {version('torchcodec')}"
    with TemporaryDirectory() as folder:
        try:
            value = _grey(_write_grey(Path(folder)), "torchcodec")
        except Exception as error:
            raise _without_libraries(name) from error
    if abs(value - 100) > 8:
        raise RuntimeError(f"a grey of 100 was written, and {name} reads {value:.0f}; leave sampling.decoder at pyav")
    return f"{name} decodes"


def _without_libraries(name: str) -> _MissingError:
    """Return why TorchCodec is installed and decodes nothing."""
    import torch

    from marey.extras import pip_command

    if not _ffmpeg_can_be_loaded():
        detail = f"{name} cannot be loaded: FFmpeg's shared libraries are not on this machine"
        return _MissingError(detail, _system_command(apt="ffmpeg", brew="ffmpeg", conda="ffmpeg"))
    detail = f"{name} cannot be loaded, with FFmpeg's libraries here: it may not fit PyTorch {torch.__version__}"
    return _MissingError(detail, f"{pip_command()} install --upgrade torchcodec")


def _ffmpeg_can_be_loaded() -> bool:
    from ctypes import CDLL
    from ctypes.util import find_library

    name = find_library("avcodec")
    try:
        return name is not None and CDLL(name) is not None
    except OSError:
        return False


def _rar() -> str:
    from marey.data import RAR_TOOLS, rar_tools
    from marey.extras import PURPOSE, install_command, missing_packages

    if missing := missing_packages("rar"):
        detail = f"{PURPOSE['rar']}; not installed: {', '.join(missing)}; one of {', '.join(RAR_TOOLS)} is needed too"
        raise _MissingError(detail, install_command("rar"))
    found = rar_tools()
    if not found:
        detail = f"none of {', '.join(RAR_TOOLS)} is installed, to unpack data sets that come as RAR archives"
        raise _MissingError(detail, _system_command(apt="unar", brew="unar"))
    return f"unpacked by {', '.join(found)}"


def _extra(extra: Extra) -> str:
    from marey.extras import PURPOSE, install_command, missing_packages

    if missing := missing_packages(extra):
        raise _MissingError(f"{PURPOSE[extra]}; not installed: {', '.join(missing)}", install_command(extra))
    return PURPOSE[extra]


def _extension(extension: Extension) -> str:
    if extension.failure is not None:
        raise RuntimeError(extension.failure)
    return f"of the package {extension.package}" if extension.package else "named by MAREY_PLUGINS"


def _system_command(**packages: str) -> str:
    """Return the line by which this system installs a program: that of its package manager, or of the usual ones."""
    lines = {tool: f"{_SYSTEM[tool]} {package}" for tool, package in packages.items()}
    return next((line for tool, line in lines.items() if shutil.which(tool)), " or ".join(lines.values()))
