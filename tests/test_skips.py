"""Which skips are failures where everything is meant to be installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

pytestmark = pytest.mark.filterwarnings("default")

@pytest.mark.skipif(True, reason="openvino is not installed")
def test_marked(): ...

@pytest.fixture
def browser(): pytest.skip("Chromium is not installed")

def test_fixture(browser): ...

def test_call(): pytest.skip("the real clips are not here: /nowhere")

def test_gpu(): pytest.skip("there is no GPU here")

def test_passes(): ...
"""


def run_pytest(folder: Path, *, strict: bool) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), environment.get("PYTHONPATH", "")])
    environment |= {"MAREY_NO_SKIPS": "1" if strict else "", "MAREY_SKIPPED": str(folder / "skipped.txt")}
    command = [sys.executable, "-m", "pytest", "-p", "skips", "-p", "no:cacheprovider", "-rfE", str(folder)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout


@pytest.mark.long
def test_a_skip_for_what_could_be_installed_is_a_failure_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS, encoding="utf-8")
    module = "import pytest\npytest.skip('playwright is not installed', allow_module_level=True)\n"
    assert "1 passed, 4 skipped" in run_pytest(tmp_path, strict=False)
    found = run_pytest(tmp_path, strict=True)
    assert "1 failed, 1 passed, 1 skipped, 2 errors" in found
    assert "skipped, and MAREY_NO_SKIPS is set: Chromium is not installed" in found
    (tmp_path / "test_some.py").write_text(module, encoding="utf-8")
    assert "skipped, and MAREY_NO_SKIPS is set: playwright is not installed" in run_pytest(tmp_path, strict=True)


@pytest.mark.long
def test_skipped_tests_and_modules_are_written_down_by_name(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS, encoding="utf-8")
    module = "import pytest\npytest.skip('playwright is not installed', allow_module_level=True)\n"
    (tmp_path / "test_whole.py").write_text(module, encoding="utf-8")
    run_pytest(tmp_path, strict=False)
    names = ["test_some.py::test_call", "test_some.py::test_fixture", "test_some.py::test_gpu"]
    names += ["test_some.py::test_marked", "test_whole.py"]
    assert sorted((tmp_path / "skipped.txt").read_text().split()) == names
