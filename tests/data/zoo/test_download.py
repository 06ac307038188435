from __future__ import annotations

import hashlib
import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from marey.data.zoo.download import RemoteFile, download
from marey.errors import DatasetError

pytest_plugins = ("small_archives",)

CONTENT = b"PK" + os.urandom(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def fetch(shop: Any, tmp_path: Path) -> Callable[..., Path]:
    """Downloads data.zip from the shop into tmp_path/in."""
    shop.files["data.zip"] = CONTENT

    def call(**known: Any) -> Path:
        steps = known.pop("steps", [])
        file = RemoteFile("data.zip", known.pop("urls", (f"{shop.url}/data.zip",)), **known)
        record = tmp_path / "downloads.json"
        return download(file, tmp_path / "in", record=record, on_progress=lambda *step: steps.append(step))

    return call


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A disk that takes no file larger than this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_its_hash_is_recorded(fetch: Callable[..., Path], tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    path = fetch(steps=steps)
    assert path.read_bytes() == CONTENT
    assert left(tmp_path / "in") == ["data.zip"]
    assert json.loads((tmp_path / "downloads.json").read_text()) == {"data.zip": SHA256}
    assert steps[0][0] == "downloading data.zip"
    assert steps[-1] == ("checking data.zip", len(CONTENT), len(CONTENT))
    assert max(done for what, done, _ in steps if what.startswith("downloading")) == len(CONTENT)


def test_a_file_that_is_there_is_not_downloaded_again(fetch: Callable[..., Path], shop: Any) -> None:
    fetch()
    fetch()
    assert len(shop.asked) == 1


def test_a_broken_connection_is_taken_up_where_it_broke(fetch: Callable[..., Path], shop: Any) -> None:
    shop.cuts = [100_000, 50_000]
    assert fetch(sha256=SHA256).read_bytes() == CONTENT
    assert shop.asked[1:] == [
        ("data.zip", "bytes=100000-", '"first"'),
        ("data.zip", "bytes=150000-", '"first"'),
    ]


def test_a_server_that_gives_up_ends_in_a_sentence_and_the_next_call_goes_on(
    fetch: Callable[..., Path], shop: Any, tmp_path: Path
) -> None:
    shop.cuts = [100_000, 0]
    with pytest.raises(DatasetError, match=r"broke after 100000 of 300002 bytes\); 100.0 kB are kept"):
        fetch()
    assert "data.zip" not in left(tmp_path / "in")
    assert fetch().read_bytes() == CONTENT
    assert shop.asked[-1] == ("data.zip", "bytes=100000-", '"first"')
    assert left(tmp_path / "in") == ["data.zip"]


def test_ctrl_c_keeps_what_was_received(fetch: Callable[..., Path], shop: Any, tmp_path: Path) -> None:
    shop.files["data.zip"] = content = b"PK" + os.urandom(3_000_000)

    class Interrupted(list[tuple[str, int, int]]):
        def append(self, step: tuple[str, int, int]) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(steps=Interrupted())
    assert "data.zip" not in left(tmp_path / "in")
    assert fetch().read_bytes() == content
    assert shop.asked[-1] == ("data.zip", f"bytes={1 << 20}-", '"first"')


@pytest.mark.parametrize("conditions", [True, False], ids=["if-range", "no if-range"])
def test_halves_of_two_files_are_never_joined(fetch: Callable[..., Path], shop: Any, conditions: bool) -> None:
    shop.cuts = [100_000, 0]
    with pytest.raises(DatasetError):
        fetch()
    shop.files["data.zip"], shop.etag, shop.conditions = b"PK" + CONTENT[::-1], '"second"', conditions
    assert fetch().read_bytes() == shop.files["data.zip"]


@pytest.mark.parametrize(
    "behaviour",
    [
        {"ranges": False},
        {"shift": 7},
        {"etag": None},
        {"etag": 'W/"weak"'},
    ],
    ids=["no ranges", "another part than was asked for", "nothing that tells files apart", "a weak etag"],
)
def test_where_a_part_cannot_be_gone_on_with_the_file_is_fetched_anew(
    fetch: Callable[..., Path], shop: Any, behaviour: dict[str, Any]
) -> None:
    shop.cuts = [100_000]
    for name, value in behaviour.items():
        setattr(shop, name, value)
    assert fetch().read_bytes() == CONTENT
    assert shop.asked[-1][1] is None or not shop.ranges


def test_a_date_or_a_known_hash_is_enough_to_go_on(fetch: Callable[..., Path], shop: Any) -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    shop.cuts, shop.etag, shop.modified = [100_000], None, date
    fetch().unlink()
    assert shop.asked[-1] == ("data.zip", "bytes=100000-", date)
    shop.cuts, shop.modified = [100_000], None
    fetch(sha256=SHA256)
    assert shop.asked[-1] == ("data.zip", "bytes=100000-", None)


def test_a_part_that_is_longer_than_the_file_is_given_up(fetch: Callable[..., Path], shop: Any, tmp_path: Path) -> None:
    shop.cuts = [100_000, 0]
    with pytest.raises(DatasetError):
        fetch()
    with (tmp_path / "in" / ".data.zip.part").open("ab") as part:
        part.write(bytes(400_000))
    assert fetch().read_bytes() == CONTENT


def test_a_wrong_hash_ends_in_a_sentence_and_leaves_nothing(fetch: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"has the SHA-256 {SHA256}, and the published file has {'0' * 64}"):
        fetch(sha256="0" * 64)
    assert left(tmp_path / "in") == []
    assert not (tmp_path / "downloads.json").exists()


def test_another_size_than_the_known_one_is_refused_before_it_is_received(
    fetch: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=r"the server offers 300002 bytes, and data.zip has 300001"):
        fetch(size=300_001)
    assert left(tmp_path / "in") == []


def test_a_page_that_comes_instead_of_the_archive_is_refused(
    fetch: Callable[..., Path], shop: Any, tmp_path: Path
) -> None:
    shop.files["data.zip"] = b"<html>moved</html>"
    with pytest.raises(DatasetError, match=r"no zip file \(it begins with b'<html>moved.*such as a page"):
        fetch()
    assert left(tmp_path / "in") == []


def test_a_second_download_has_to_be_the_first_one_again(fetch: Callable[..., Path], shop: Any, tmp_path: Path) -> None:
    fetch().unlink()
    shop.files["data.zip"] = CONTENT + b"!"
    with pytest.raises(DatasetError, match=f"and had {SHA256} when it was first downloaded.*downloads.json"):
        fetch()
    assert left(tmp_path / "in") == []


def test_a_file_without_room_is_refused_before_it_is_received(
    fetch: Callable[..., Path], shop: Any, tmp_path: Path
) -> None:
    shop.announced = 10**17
    with pytest.raises(DatasetError, match=r"downloading data.zip needs 100000.0 TB, and .* free: make room"):
        fetch()
    assert "data.zip" not in left(tmp_path / "in")


def test_a_full_disk_ends_in_a_sentence_and_with_room_the_next_call_goes_on(
    fetch: Callable[..., Path], shop: Any, tmp_path: Path
) -> None:
    shop.files["data.zip"] = content = b"PK" + os.urandom(3_000_000)
    with largest_file(2 << 20), pytest.raises(DatasetError, match=r"data.zip cannot be kept in .*: File too large"):
        fetch()
    assert "data.zip" not in left(tmp_path / "in")
    assert fetch().read_bytes() == content
    assert shop.asked[-1][1] == f"bytes={2 << 20}-"


def test_the_second_address_is_asked_where_the_first_fails(fetch: Callable[..., Path], shop: Any) -> None:
    assert fetch(urls=(f"{shop.url}/gone.zip", f"{shop.url}/data.zip")).read_bytes() == CONTENT
    with pytest.raises(DatasetError, match=r"other.zip: the server answers 404 Not Found; http://127.0.0.1:1/a.zip: "):
        download(
            RemoteFile("other.zip", (f"{shop.url}/other.zip", "http://127.0.0.1:1/a.zip")),
            fetch().parent,
            record=fetch().parent / "downloads.json",
            on_progress=lambda *_: None,
        )


def test_a_record_that_cannot_be_read_is_named(fetch: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "downloads.json").write_text("[")
    with pytest.raises(DatasetError, match=r"downloads.json cannot be read"):
        fetch()
