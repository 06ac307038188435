"""The lines that install extras: marey is not on PyPI, so they name the checkout, or the packages."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import marey
from marey.extras import EXTRAS, PURPOSE, install_command, missing_packages

SOURCE = Path(marey.__file__).parent
PROJECT = Path(__file__).resolve().parents[1]
STATED: dict[str, list[str]] = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]


def test_every_extra_of_users_has_a_purpose() -> None:
    assert set(EXTRAS) == set(PURPOSE) == STATED.keys() - {"all", "bench", "dev", "docs"}


def test_all_is_every_extra_and_the_developers_have_them() -> None:
    assert STATED["all"] == [f"marey[{','.join(EXTRAS)}]"]
    assert STATED["dev"][0] == "marey[all]"


def test_the_readme_has_the_line_of_every_extra() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    for extra in (*EXTRAS, "all"):
        assert f"`pip install -e '.[{extra}]'`" in readme


def test_in_a_checkout_the_line_installs_the_checkout_again_with_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shlex.split(install_command("app"))[-2:] == ["-e", f"{PROJECT}[app]"]
    monkeypatch.chdir(PROJECT)
    assert install_command("app").endswith("pip install -e '.[app]'")


def test_beside_an_installed_wheel_the_line_names_the_packages_of_the_extra(tmp_path: Path) -> None:
    (tmp_path / "marey").mkdir()
    for name in ("__init__.py", "errors.py", "extras.py", "progress.py", "remote_path.py", "version.py"):
        shutil.copy(SOURCE / name, tmp_path / "marey" / name)
    lines = [f'Requires-Dist: {each}; extra == "{extra}"' for extra, stated in STATED.items() for each in stated]
    (tmp_path / "marey-0.1.0.dist-info").mkdir()
    (tmp_path / "marey-0.1.0.dist-info" / "METADATA").write_text(
        "\n".join(["Metadata-Version: 2.1", "Name: marey", "Version: 0.1.0", "Requires-Dist: av>=17.0", *lines, ""])
    )
    code = "from marey.extras import EXTRAS, install_command\nfor each in *EXTRAS, 'all': print(install_command(each))"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    *lines, line_for_all = done.stdout.splitlines()
    for extra, line in zip(EXTRAS, lines, strict=True):
        _, packages = line.split(" install ")
        assert shlex.split(packages) == STATED[extra]
    _, packages = line_for_all.split(" install ")
    assert shlex.split(packages) == [each for extra in EXTRAS for each in STATED[extra]]


def test_the_line_calls_the_pip_of_this_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    *pip, install, _, _ = shlex.split(install_command("app"))
    assert (pip, install) == ([sys.executable, "-m", "pip"], "install")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    (tmp_path / "pip").touch(0o755)
    assert install_command("app").startswith("pip install ")


def test_packages_that_are_missing_are_named_with_their_bounds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert missing_packages("transformers") == STATED["transformers"]
    (needed,) = map(Requirement, STATED["transformers"])
    for version, missing in (("3.9", STATED["transformers"]), ("99.0", [])):
        (tmp_path / f"{needed.name}-{version}.dist-info").mkdir()
        (tmp_path / f"{needed.name}-{version}.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {needed.name}\nVersion: {version}\n"
        )
        assert missing_packages("transformers") == missing
        shutil.rmtree(tmp_path / f"{needed.name}-{version}.dist-info")


def test_no_text_of_the_project_asks_pip_for_marey_by_name() -> None:
    texts = [*SOURCE.rglob("*.py"), *SOURCE.rglob("*.yaml"), *PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md")]
    assert len(texts) > 100
    asked = re.compile(r"pip install ['\"]?marey\b")
    found = [path for path in texts if path.name != "extras.py" and asked.search(path.read_text(encoding="utf-8"))]
    assert not found


NEEDS = {
    "import marey.client": "serve",
    "from marey.service.command import serve; serve(['x'])": "serve",
    "from marey.training import tune_storage; tune_storage.require_optuna()": "tune",
    "from marey.encoders import onnxruntime_engine as e; e.open_session(b'', 1)": "fast",
    "from marey.encoders import openvino_engine as e; e.core()": "fast",
    "from marey.encoders import quantised as q; q._nncf()": "fast",
    "from marey.encoders import *; load_encoder(EncoderSpec(name='vjepa2'))": "transformers",
    "from marey import commands; commands.train('no clips', recipe='c3d-lstm-gru', out='run')": "networks",
    "from marey import commands; commands.tune('no clips', recipe='lrcn-small', out='run')": "networks",
    "from marey.training import process_group as g; g.silent_lightning().__enter__()": "networks",
    "from marey.data import read_manifest; read_manifest('clips.parquet')": "parquet",
    "from marey.data import *; write_manifest(Manifest((), Path(), '', ''), 'clips.parquet')": "parquet",
    "from marey.data.zoo.archives import require_rar_tool; require_rar_tool('UCF101.rar')": "rar",
    "from marey.data.zoo.archives import unpack; unpack('clips.rar', 'clips', on_progress=print)": "rar",
    "from marey.cluster import check_on; check_on('ray')": "ray",
    "from marey.video import probe; probe('s3://bucket/clip.mp4')": "remote",
    "from marey.video import probe; probe('https://example.invalid/clip.mp4')": "remote",
}


HIDE = """
from importlib.machinery import PathFinder
found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in {} else found(name, *rest)
"""


def packages_of_extras() -> list[str]:
    """The packages that a program can import because an extra is installed."""
    stated = {canonicalize_name(Requirement(each).name) for extra in EXTRAS for each in STATED[extra]}
    return sorted(
        package
        for package, names in packages_distributions().items()
        if {canonicalize_name(name) for name in names} <= stated
    )


@pytest.mark.long
def test_training_evaluation_and_prediction_need_no_extra(small_set: Path, tmp_path: Path) -> None:
    assert {"lightning", "pyarrow", "rarfile", "tensorboard"} <= set(packages_of_extras())
    video = str(next(small_set.rglob("*.mp4")))
    calls = [
        ["train", str(small_set), "--recipe", "default-0.1", "--out", "run", "--epochs", "3"],
        ["predict", "run", video, "--json"],
        ["evaluate", "run", str(small_set), "--out", "tested"],
    ]
    program = f"""
import sys
{HIDE.format(packages_of_extras())}
from marey.cli import main
for call in {calls}:
    sys.argv = ["marey", *call]
    try:
        main()
    except SystemExit as end:
        assert not end.code, call
"""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert '"label"' in done.stdout
    for name in ("run/report.html", "tested/report.html"):
        assert (tmp_path / name).is_file()
    assert not list(tmp_path.rglob("events.out.tfevents.*"))
    assert list(tmp_path.rglob("metrics.csv"))


@pytest.mark.long
def test_what_needs_an_extra_says_the_line_that_installs_it(tmp_path: Path) -> None:
    program = f"""
{HIDE.format(packages_of_extras())}
from pathlib import Path
from marey.errors import UsageError
for code in {list(NEEDS)}:
    try:
        exec(code)
    except UsageError as error:
        print(error)
"""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    for line, extra in zip(done.stdout.splitlines(), NEEDS.values(), strict=True):
        assert line.endswith(f"pip install -e {shlex.quote(f'{PROJECT}[{extra}]')}")
