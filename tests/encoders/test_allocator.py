from __future__ import annotations

import platform
import sys

import pytest

from marey.encoders.memory import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_glibc_takes_the_setting() -> None:
    assert keep_freed_memory()


@pytest.mark.skipif(sys.platform.startswith("linux"), reason="this is Linux")
def test_elsewhere_nothing_is_changed() -> None:
    assert not keep_freed_memory()
