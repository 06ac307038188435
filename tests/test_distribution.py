"""The source distribution and the wheel, and what a user of the wheel has of marey.

The environment is new and lies outside the checkout. It holds the wheel, put there by pip, and links to the packages
that the wheel requires, directly and indirectly, and to no other: what marey needs and does not state is missing there.
Their versions are those of the running environment; that pip finds them on an index is not tested.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest
from packaging.requirements import Requirement

from marey.client import Client

pytestmark = pytest.mark.long

PROJECT = Path(__file__).resolve().parents[1]
MADE_HERE = ("__pycache__", ".egg-info")
ACTIONS = {"boxing", "handclapping", "handwaving", "jogging", "running", "walking"}


class Built(NamedTuple):
    """What `python -m build` has made."""

    sdist: Path
    wheel: Path


class Environment(NamedTuple):
    """A Python that has the wheel, and a folder to work in."""

    folder: Path
    bin: Path
    work: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603
            [str(self.bin / command[0]), *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.work,
            env=self.variables(),
        )

    def marey(self, *arguments: str) -> Any:
        """The answer of a command, as JSON."""
        done = self.run("marey", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def variables(self) -> dict[str, str]:
        """Of the environment; nothing leads to the checkout, or to the home of whoever runs the tests."""
        kept = {name: os.environ[name] for name in ("LANG", "OMP_NUM_THREADS", "SYSTEMROOT") if name in os.environ}
        home = str(self.folder / "home")
        return kept | {"PATH": f"{self.bin}{os.pathsep}{os.defpath}", "HOME": home, "MAREY_ENGINE": "pytorch"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Both distributions, made of a copy of the checkout: the checkout is left as it is."""
    pytest.importorskip("build", reason="the package build is not installed")
    source, out = tmp_path_factory.mktemp("source") / "marey", tmp_path_factory.mktemp("dist")
    shutil.copytree(
        PROJECT, source, ignore=shutil.ignore_patterns(".*", "runs", "build", "dist", *MADE_HERE, "*.egg-info")
    )
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=out)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return Built(sdist, wheel)


def environment(folder: Path, wheel: Path, *, extras: tuple[str, ...]) -> Environment:
    python = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(python)], check=True)  # noqa: S603
    scripts = python / ("Scripts" if os.name == "nt" else "bin")
    pip = [str(scripts / "python"), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(pip, check=True)  # noqa: S603
    found = subprocess.run(  # noqa: S603
        [str(scripts / "python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    site = Path(found.stdout.strip())
    for each in required(wheel, extras):
        link(each, site)
    for name in ("work", "home"):
        (folder / name).mkdir()
    return Environment(folder, scripts, folder / "work")


def required(wheel: Path, extras: tuple[str, ...]) -> list[Distribution]:
    """The installed packages that the wheel requires, with those that they require."""
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        lines = opened.read(name).decode().partition("\n\n")[0].splitlines()
    stated = [Requirement(line.partition(":")[2].strip()) for line in lines if line.startswith("Requires-Dist:")]
    found: dict[tuple[str, str], Distribution] = {}
    waiting = [each for each in stated if applies(each, ("", *extras))]
    while waiting:
        needed = waiting.pop()
        for extra in ("", *needed.extras):
            if (needed.name.lower(), extra) in found:
                continue
            try:
                package = distribution(needed.name)
            except PackageNotFoundError:
                pytest.fail(f"{needed} is required, and is not installed in this environment")
            found[needed.name.lower(), extra] = package
            waiting += [each for each in map(Requirement, package.requires or ()) if applies(each, (extra,))]
    return list(found.values())


def applies(needed: Requirement, extras: tuple[str, ...]) -> bool:
    return needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras)


def link(package: Distribution, site: Path) -> None:
    """Make the files of an installed package those of another environment too."""
    for top in sorted({file.parts[0] for file in package.files or ()} - {"..", "__pycache__", "bin"}):
        if not (site / top).exists():
            (site / top).symlink_to(Path(str(package.locate_file(top))).resolve())


@contextmanager
def started(where: Environment, *arguments: str, until: str) -> Iterator[str]:
    """The address of a server that `marey` starts there, once it has said the given words."""
    process = subprocess.Popen(  # noqa: S603
        [str(where.bin / "marey"), *arguments], stderr=subprocess.PIPE, text=True, cwd=where.work, env=where.variables()
    )
    try:
        said = ""
        for line in process.stderr or ():
            said += line
            if until in line:
                break
        else:
            pytest.fail(f"it did not start: {said}")
        yield re.findall(r"http://[^\s,]+", said)[0]
    finally:
        process.terminate()
        process.communicate(timeout=60)


def files_of(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.endswith(MADE_HERE) for part in path.relative_to(folder).parts)
    }


def test_twine_finds_nothing_wrong(built: Built) -> None:
    pytest.importorskip("twine", reason="the package twine is not installed")
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, built)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_the_source_distribution_holds_all_tests_and_what_they_look_at(built: Built) -> None:
    with tarfile.open(built.sdist) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    for folder in ("benchmarks", "docs", "examples", "scripts", "src", "tests"):
        assert {f"{folder}/{name}" for name in files_of(PROJECT / folder)} <= held
    assert {"LICENSE", "README.md", "CHANGELOG.md", "Makefile", "constraints.txt", "pyproject.toml"} <= held
    assert not [name for name in held if "__pycache__" in name or name.startswith((".ci", "checkpoints", "runs"))]


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as opened:
        held = set(opened.namelist())
    assert {name for name in held if not name.startswith("marey-")} == {
        f"marey/{name}" for name in files_of(PROJECT / "src" / "marey")
    }
    assert "marey/py.typed" in held
    assert any(name.endswith("/licenses/LICENSE") for name in held)


def test_the_wheel_without_extras_draws_trains_and_predicts(built: Built, tmp_path: Path) -> None:
    new = environment(tmp_path, built.wheel, extras=())
    optional = ("streamlit", "fastapi", "lightning", "pyarrow", "rarfile", "tensorboard")
    code = f"import marey, importlib.util as u; print(marey.__file__, *map(u.find_spec, {optional}))"
    file, *extras = new.run("python", "-c", code).stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    assert extras == ["None"] * len(optional)
    found = {each["name"]: each for each in new.marey("doctor")}
    assert "fault" not in {each["state"] for each in found.values()}
    assert found["tune"]["install"].startswith("pip install 'optuna>=")
    demo = new.marey("demo", "--actors", "4", "--out", "demo")
    assert demo["training"]["metrics"]["accuracy"] > 0.5
    assert {each["label"] for each in demo["new_clips"]} <= ACTIONS
    assert (new.work / "demo" / "run" / "report.html").is_file()
    settings = ("--set", "sampling.count=4")
    new.marey("train", "demo/clips/manifest.csv", "--out", "run", "--recipe", "frame-average", *settings)
    assert new.marey("evaluate", "run", "demo/clips/manifest.csv", "--out", "tested")
    predicted = new.marey("predict", "run", "demo/new", "--annotate", "annotated")
    assert len(predicted) == len(ACTIONS) == len(list((new.work / "annotated").iterdir()))
    assert {each["label"] for each in predicted} <= ACTIONS


def test_the_wheel_with_its_extras_starts_the_page_and_the_service(
    built: Built, small_run: Path, small_set: Path, tmp_path: Path
) -> None:
    new = environment(tmp_path, built.wheel, extras=("app", "serve"))
    app = ("app", str(small_run.parent), "--port", "8760", "--browser", "none")
    with started(new, *app, until="the page is at ") as url, urlopen(url) as page:  # noqa: S310 - ours
        assert b"<html" in page.read()
    serve = ("serve", str(small_run), "--port", "0", "--jobs", "jobs")
    with started(new, *serve, until="ready") as url, Client(url) as client:
        assert client.predict(next(small_set.rglob("*.mp4"))).label in ACTIONS
