"""`marey doctor`: what works, what is at fault, and which optional parts are missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
from contextlib import suppress
from ctypes import CDLL
from ctypes.util import find_library
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import marey
from marey import commands
from marey.cli.screen import Screen
from marey.commands.doctor import Finding, Health, _finding, _gpu, _rar
from marey.cores import machine_cores, usable_cores
from marey.data import rar_tools
from marey.encoders import installed_engines
from marey.extras import EXTRAS, install_command, missing_packages

NEEDED = {"packages", "CPU", "video", "encoder", "cache"}
ROW = {extra: extra for extra in EXTRAS} | {"fast": "engines", "rar": "RAR archives", "torchcodec": "TorchCodec"}
OPTIONAL = {"GPU", *ROW.values()}


def bare_folder(root: Path) -> Path:
    """All installed packages but those of the extras, as links."""
    folder = Path(sysconfig.get_path("purelib"))
    names = {canonicalize_name(Requirement(each).name) for extra in EXTRAS for each in marey_requirements(extra)}
    names -= needed_anyway()
    modules = {name.replace("-", "_") for name in names}
    (root / "packages").mkdir()
    for path in folder.iterdir():
        name = path.name.split("-")[0].removesuffix(".libs")
        if name not in modules and canonicalize_name(name) not in names:
            (root / "packages" / path.name).symlink_to(path)
    return root / "packages"


def needed_anyway() -> set[str]:
    """The packages that come with marey alone, such as h11, which the service names as well."""
    found: set[str] = set()
    waiting = [each for each in metadata.requires("marey") or [] if "extra" not in each]
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        with suppress(metadata.PackageNotFoundError):
            waiting += metadata.requires(name) or []
            found.add(name)
    return found


def marey_requirements(extra: str) -> list[str]:
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[str] = project["project"]["optional-dependencies"][extra]
    return found


def ffmpeg_is_here() -> bool:
    """Whether the libraries can be loaded; the system's list may name those that cannot."""
    try:
        return bool(name := find_library("avcodec")) and bool(CDLL(name))
    except OSError:
        return False


def torchcodec_can_be_loaded() -> bool:
    done = subprocess.run([sys.executable, "-c", "import torchcodec"], capture_output=True, check=False)
    return done.returncode == 0


def doctor_without_extras(root: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code and the findings where no extra and no program is installed."""
    (root / "here").mkdir()
    source = Path(marey.__file__).resolve().parents[1]
    environment = {
        "PATH": str(root / "here"),
        "HOME": str(root),
        "MAREY_CACHE": str(root / "cache"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join((str(source), str(bare_folder(root)))),
    }
    done = subprocess.run(
        [sys.executable, "-S", "-m", "marey", "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=root / "here",
    )
    assert done.stdout, done.stderr
    return done.returncode, {found["name"]: found for found in json.loads(done.stdout)}


@pytest.mark.long
def test_the_doctor_names_what_it_has_looked_at() -> None:
    found = {finding.name: finding for finding in commands.doctor().findings}
    assert found.keys() == NEEDED | OPTIONAL
    assert all(found[name].state == "ok" for name in NEEDED)
    assert all(finding.detail and finding.state != "fault" for finding in found.values())
    assert found["CPU"].detail.startswith(f"{usable_cores()} of {machine_cores()} cores usable")
    names = installed_engines()
    if len(names) > 1:
        assert all(f"{name} " in found["engines"].detail for name in ("auto takes", *names))
    for extra in EXTRAS:
        if missing_packages(extra):
            assert (found[ROW[extra]].state, found[ROW[extra]].install) == ("missing", install_command(extra))
        elif extra not in ("rar", "torchcodec"):  # which need programs and libraries too
            assert found[ROW[extra]].state == "ok"
    assert (found["RAR archives"].state == "ok") == bool(rar_tools() and not missing_packages("rar"))
    if not missing_packages("torchcodec"):  # whether it can be loaded is the libraries' doing
        expected = ("missing", "FFmpeg's shared libraries are not")
        if ffmpeg_is_here():  # TorchCodec is built for one version of PyTorch
            expected = ("ok", "") if torchcodec_can_be_loaded() else ("missing", "it may not fit PyTorch")
        assert found["TorchCodec"].state == expected[0]
        assert expected[1] in found["TorchCodec"].detail
        assert (found["TorchCodec"].install is None) == (expected[0] == "ok")


@pytest.mark.long
def test_the_doctor_says_where_the_fault_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "file"))
    found = commands.doctor()
    assert [finding.name for finding in found.findings if finding.state == "fault"] == ["cache"]
    assert not found.usable


@pytest.mark.long
def test_what_is_optional_is_no_fault_on_a_bare_machine(tmp_path: Path) -> None:
    code, found = doctor_without_extras(tmp_path)
    assert code == 0
    assert {name for name in found if found[name]["state"] == "ok"} - {"GPU"} == NEEDED
    assert {name for name in found if found[name]["state"] == "missing"} | {"GPU"} == OPTIONAL
    for extra in EXTRAS:
        assert found[ROW[extra]]["install"].endswith(f"[{extra}]'")
    assert "unar" in found["RAR archives"]["detail"]
    assert "FFmpeg's shared libraries" in found["TorchCodec"]["detail"]


def test_a_gpu_that_this_build_of_pytorch_cannot_use_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.version.cuda", None)  # as a CPU build has it
    monkeypatch.setenv("PATH", str(tmp_path))
    without = _finding("GPU", _gpu)
    assert (without.state, without.install) == ("missing", None)
    (tmp_path / "nvidia-smi").touch(0o755)
    found = _finding("GPU", _gpu)
    assert "without CUDA" in found.detail
    assert str(found.install).endswith("-m pip install --force-reinstall torch torchvision")


def test_a_program_for_rar_archives_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = _finding("RAR archives", _rar)
    assert found.state == "missing"
    assert "unar" in str(found.install)


def test_where_several_extras_are_missing_the_last_line_installs_all(capsys: pytest.CaptureFixture[str]) -> None:
    findings = [Finding(extra, "missing", "not here", install_command(extra)) for extra in ("app", "serve")]
    for missing in (findings[:1], findings):
        Screen(quiet=True).show(commands.COMMANDS["doctor"].show(Health(tuple(missing))))
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.endswith(install_command("all" if len(missing) > 1 else "app"))


def test_lines_that_install_are_printed_in_one_piece(capsys: pytest.CaptureFixture[str]) -> None:
    line = install_command("fast") + " and more" * 20
    findings = (Finding("video", "ok", "reads"), Finding("engines", "missing", "pytorch alone", line))
    Screen(quiet=True).show(commands.COMMANDS["doctor"].show(Health(findings)))
    assert any(printed.endswith(f"engines       {line}") for printed in capsys.readouterr().out.splitlines())
