"""The extras of marey: what each is for, what of it is missing, and the command that installs it.

Every command imports this module, and what reads requirements takes longer to import than all the rest of it.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import Final, Literal, get_args

Extra = Literal[
    "app",
    "fast",
    "keras",
    "live",
    "lora",
    "networks",
    "parquet",
    "rar",
    "ray",
    "remote",
    "serve",
    "tensorboard",
    "torchcodec",
    "transformers",
    "tune",
]

PURPOSE: Final[dict[Extra, str]] = {
    "app": "the page in the browser, `marey app`",
    "fast": "OpenVINO and ONNX Runtime, often twice as fast as PyTorch on a CPU; `marey quantize`",
    "keras": "models that were trained in Keras, `marey import-keras`, by h5py",
    "live": "videos on web pages, by yt-dlp",
    "lora": "low-rank adapters for fine-tuning, `training.lora`, by peft",
    "networks": "training of networks on frames, such as c3d-lstm-gru and r2plus1d-18, on Lightning Fabric",
    "parquet": "manifests as Parquet files, by PyArrow",
    "rar": "data sets that come as RAR archives, such as UCF101 and HMDB51",
    "ray": "work on a cluster, `--on ray`, by Ray",
    "remote": "videos in S3 and on web servers, read where they lie, by s3fs and aiohttp",
    "serve": "the HTTP service, `marey serve`, and its client",
    "tensorboard": "the curves of a training for TensorBoard, beside metrics.csv",
    "torchcodec": "TorchCodec as a second decoder, `sampling.decoder: torchcodec`",
    "transformers": "the recipes videomae, vjepa2, videoprism and timesformer, and labels and queries in words",
    "tune": "the search, `marey tune`",
}
EXTRAS: Final[tuple[Extra, ...]] = get_args(Extra)

_SOURCE: Final = Path(__file__).resolve().parents[2]


def install_command(extra: Extra | Literal["all"]) -> str:
    """Return the line that installs an extra into this Python, from any folder; "all" is every extra.

    marey is not on PyPI, so `pip install 'marey[app]'` would look for a package that is not there, or is another one.
    A checkout is installed again with the extra; beside an installed wheel the packages of the extra are named.
    """
    pip = f"{pip_command()} install"
    if _checkout() is None:
        return f"{pip} {shlex.join(_requirements(extra))}"
    folder = "." if Path.cwd() == _SOURCE else str(_SOURCE)
    return f"{pip} -e {shlex.quote(f'{folder}[{extra}]')}"


def missing_packages(extra: Extra) -> list[str]:
    """Return the requirements of an extra that no installed package meets, such as "optuna>=4.0"."""
    return [each for each in _requirements(extra) if not _is_met(each)]


def _is_met(stated: str) -> bool:
    from importlib import metadata

    from packaging.requirements import Requirement

    requirement = Requirement(stated)
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def _requirements(extra: Extra | Literal["all"]) -> list[str]:
    """Return the requirements of an extra, as the checkout states them, or the installed package."""
    if extra == "all":  # stated as marey[app,...], and pip would look for marey on PyPI
        return [each for one in EXTRAS for each in _requirements(one)]
    checkout = _checkout()
    if checkout is not None:
        return list(checkout[extra])
    from importlib import metadata

    from packaging.requirements import Requirement

    stated = [Requirement(line) for line in metadata.requires("marey") or ()]
    return [
        f"{each.name}{each.specifier}"
        for each in stated
        if each.marker is not None
        and each.marker.evaluate({"extra": extra})
        and not each.marker.evaluate({"extra": ""})
    ]


@cache
def _checkout() -> dict[str, list[str]] | None:
    """Return the extras of the checkout that these sources lie in; None for an installed wheel."""
    import tomllib

    try:
        project = tomllib.loads((_SOURCE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, ValueError, KeyError):
        return None
    return project["optional-dependencies"] if project.get("name") == "marey" else None


def pip_command() -> str:
    """Return "pip" where that is this Python's, as in an environment that is activated; else the way to call it."""
    found = shutil.which("pip")
    if found is not None and Path(found).parent == Path(sys.executable).parent:
        return "pip"
    return f"{shlex.quote(sys.executable)} -m pip"
