"""A machine without what is optional."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BARE = Path(__file__).resolve().parents[1] / "scripts" / "bare"

LOOK = """
import json, os, shutil, sys
print(json.dumps({
    "programs": {name: shutil.which(name) for name in ("ffmpeg", "chromium", "unar", "sh")},
    "sizes": {path: os.path.getsize(path) for path in json.loads(os.environ["LIBRARIES"])},
    "said": sys.argv[1:], "read": sys.stdin.read(),
}))
sys.exit(7)
"""


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("programs are hidden on Linux only")
    tried = subprocess.run([BARE, "true"], capture_output=True, text=True, check=False)  # noqa: S603
    if tried.returncode == 125:
        pytest.skip(tried.stderr.strip())


def test_optional_programs_and_libraries_are_hidden_from_the_command_alone(tmp_path: Path) -> None:
    programs, libraries = tmp_path / "bin", tmp_path / "lib"
    programs.mkdir()
    libraries.mkdir()
    ffmpeg = programs / "ffmpeg"
    ffmpeg.write_text("#!/bin/sh\n")
    ffmpeg.chmod(0o755)
    names = ("libavutil.so.99.1", "libavutil-0a1b2c3d.so.99", "libavahi.so.3")
    for name in names:
        (libraries / name).write_text("library")
    (libraries / "libavutil.so.99").symlink_to("libavutil.so.99.1")
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(libraries),
        "LIBRARIES": json.dumps([str(libraries / name) for name in names]),
    }
    words = ["two words", "$HOME", "*", 'a "quoted" one', ""]
    command = [str(BARE), sys.executable, "-c", LOOK, *words]
    done = subprocess.run(command, env=environment, input="given", capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 7, done.stderr
    found = json.loads(done.stdout)
    assert found["programs"] == {"ffmpeg": None, "chromium": None, "unar": None, "sh": shutil.which("sh")}
    assert list(found["sizes"].values()) == [0, 7, 7]  # a library inside a Python package, and a library of others
    assert (found["said"], found["read"]) == (words, "given")
    assert ffmpeg.read_text() == "#!/bin/sh\n"
    assert (libraries / "libavutil.so.99").read_text() == "library"


def test_a_command_that_is_not_there_and_no_command_are_said() -> None:
    done = subprocess.run([BARE, "no-such-program"], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 127
    assert "no-such-program" in done.stderr
    done = subprocess.run([BARE], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 125
    assert "scripts/bare COMMAND" in done.stderr
