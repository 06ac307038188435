from __future__ import annotations

import platform
import sys

import pytest

from marey.encoders.malloc import tune_malloc


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_glibc_takes_the_setting() -> None:
    assert tune_malloc()


@pytest.mark.skipif(sys.platform.startswith("linux"), reason="this is Linux")
def test_elsewhere_nothing_is_changed() -> None:
    assert not tune_malloc()
