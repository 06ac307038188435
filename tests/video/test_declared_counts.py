"""Files that state more samples than they hold are refused before memory is taken for them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import MakeVideo
from marey.errors import VideoError
from marey.video import decode, probe
from mp4_boxes import box, compressed, file_of, full_box, in_fragments, movie, numbers, tables, track, with_tables

MANY = 83_000_000
FILES = {
    "trun": in_fragments(MANY),
    "trun_of_tracks": in_fragments(MANY, tracks=5),
    "trun_with_sizes": file_of(movie(), box(b"moof", box(b"traf", full_box(b"trun", 0x200, numbers(MANY))))),
    "many_trun": in_fragments(40_000, fragments=30),
    "one_size": with_tables(tables(stsz=full_box(b"stsz", 0, numbers(1, MANY)))),
    "one_size_of_tracks": with_tables(*[tables(stsz=full_box(b"stsz", 0, numbers(1, 700_000)))] * 2),
    "stz2": with_tables(tables(stsz=full_box(b"stz2", 0, numbers(4, MANY)))),
    "stsz": with_tables(tables(stsz=full_box(b"stsz", 0, numbers(0, MANY)))),
    "stts": with_tables(tables(stts=full_box(b"stts", 0, numbers(MANY, 1, 40)))),
    "ctts": with_tables(tables(ctts=full_box(b"ctts", 0, numbers(MANY)))),
    "stsc": with_tables(tables(stsc=full_box(b"stsc", 0, numbers(MANY, 1, 1, 1)))),
    "stco": with_tables(tables(stco=full_box(b"stco", 0, numbers(MANY)))),
    "co64": with_tables(tables(stco=full_box(b"co64", 0, numbers(MANY)))),
    "stss": with_tables(tables(stss=full_box(b"stss", 0, numbers(MANY)))),
    "stps": with_tables(tables(stps=full_box(b"stps", 0, numbers(MANY)))),
    "senc": with_tables(tables(senc=full_box(b"senc", 0, numbers(MANY)))),
    "sbgp": with_tables(tables(sbgp=full_box(b"sbgp", 0, b"rap ", numbers(MANY)))),
    "keys": file_of(movie(box(b"meta", full_box(b"hdlr", 0, bytes(20)), full_box(b"keys", 0, numbers(MANY))))),
    "tfra": file_of(movie(), box(b"mfra", full_box(b"tfra", 0, numbers(1, 0, MANY)))),
    "compressed": file_of(compressed(movie(track(1, tables(stsz=full_box(b"stsz", 0, numbers(1, MANY))))))),
}


@pytest.mark.parametrize("name", FILES)
def test_a_count_that_the_file_cannot_hold_is_corrupt_and_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(FILES[name])
    with pytest.raises(VideoError, match=r"its box '\w{4}' states") as caught:
        probe(path)
    assert caught.value.reason == "corrupt"
    stated = re.search(r"states ([\d,]+) entries", caught.value.detail)
    assert stated is not None
    assert int(stated[1].replace(",", "")) in (MANY, 40_000, 700_000)


def test_a_compressed_header_may_not_grow_without_bounds(tmp_path: Path) -> None:
    path = tmp_path / "a.mov"
    packed = box(b"cmvd", numbers(1 << 31), b"anything")
    path.write_bytes(file_of(box(b"moov", box(b"cmov", box(b"dcom", b"zlib"), packed))))
    with pytest.raises(VideoError, match="its compressed header states 2,147,483,648 bytes"):
        probe(path)


def test_no_memory_is_taken_for_counts_that_are_refused(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / f"{name}.mp4").write_bytes(content)
    code = """
import resource, sys
from pathlib import Path
from marey.errors import VideoError
from marey.video import probe
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        probe(path)
    except VideoError as error:
        assert error.reason == "corrupt", error
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    pytest.importorskip("resource", reason="this system does not tell how much memory a process took")
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)  # noqa: S603
    assert int(done.stdout) < 64 * 1024  # kB; on a Mac, bytes


def test_a_file_that_was_cut_off_in_its_tables_is_still_truncated(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"stsz") + 30])
    with pytest.raises(VideoError) as caught:
        probe(path)
    assert caught.value.reason == "truncated"


def test_a_file_in_many_fragments_is_read_and_looked_through_once(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=0.4)
    head = path.read_bytes()
    fragment = box(b"moof", full_box(b"mfhd", 0, numbers(1)))
    path.write_bytes(head + fragment * 600)
    assert decode(path, [0.0]).data.shape[0] == 1
    assert decode(path, [0.1]).data.shape[0] == 1
    path.write_bytes(head + fragment * 600 + FILES["trun"])
    with pytest.raises(VideoError, match="its box 'trun'"):
        decode(path, [0.0])
