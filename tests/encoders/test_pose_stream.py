"""The stream "pose": the same features whatever the format, place and scale; what is missing, and who is who."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import MakeVideo
from keypoint_writers import WRITERS, Joints, write_coco, write_mmpose
from marey.data import Clip
from marey.encoders import (
    Contract,
    EncoderSpec,
    FeatureCache,
    Stream,
    View,
    extract,
    load_encoder,
    read_clip,
    read_frames,
)
from marey.encoders.pose_features import POSE_DIM
from marey.errors import UsageError, VideoError
from marey.synthetic import draw_joints
from marey.video import Sampling

COUNT = 8
CENTRE = slice(0, 108)  # of the first person
IS_THERE = 0
CONFIDENCE = slice(35, 52)


@pytest.fixture(scope="module")
def boxer() -> Joints:
    """The joints of a drawn figure in 50 frames."""
    return draw_joints("boxing", actor=2, duration=2.0)


@pytest.fixture(scope="module")
def waver() -> Joints:
    """The joints of another one, to the right of the boxer."""
    person = draw_joints("handwaving", actor=3, duration=2.0)
    person[..., 0] += 60 * (person[..., 2] > 0)
    return person


@pytest.fixture(scope="module")
def video(make_video: MakeVideo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 50 frames without keypoints."""
    return make_video(tmp_path_factory.mktemp("video") / "clip.mp4", seconds=2.0)


def contract(**options: object) -> Contract:
    encoder = load_encoder(EncoderSpec(name="none"))
    streams = {"pose": Stream(kind="pose", **options)}
    return encoder.contract(sampling=Sampling(count=COUNT), streams=streams, fit="stretch")


def features_of(folder: Path, video: Path, people: list[Joints], *, writer: str = "coco", **options: object) -> Tensor:
    """Return the features (T, D) of a clip whose keypoints are written into a new folder."""
    folder.mkdir(parents=True)
    clip = Path(shutil.copy(video, folder / "clip.mp4"))
    WRITERS[writer](clip, people)
    made = contract(**options)
    observed = read_clip(Clip(clip), made)["pose"]
    stream = made.streams["pose"]
    return stream.encode(observed)  # type: ignore[attr-defined,no-any-return]


def test_all_formats_give_the_same_features(video: Path, boxer: Joints, waver: Joints, tmp_path: Path) -> None:
    boxer, waver = boxer.copy(), waver.copy()
    for person in (boxer, waver):
        person[:, 1:5] = 0  # eyes and ears; COCO-18 and BODY_25 have them, in another order
        person[:, 0] = person[:, 0]
    found = {name: features_of(tmp_path / name, video, [boxer, waver], writer=name) for name in WRITERS}
    first = found.pop("coco")
    assert first.shape == (COUNT, POSE_DIM)
    assert first.abs().sum() > 0
    for name, values in found.items():
        assert torch.allclose(values, first, atol=2e-3, rtol=1e-3), name


def test_features_do_not_change_with_the_place_and_the_scale(
    video: Path, boxer: Joints, waver: Joints, tmp_path: Path
) -> None:
    there = np.stack([boxer, waver])[..., 2:] > 0
    plain = features_of(tmp_path / "a", video, [boxer, waver])
    moved = np.where(there, np.stack([boxer, waver]) * (3, 3, 1) + (200, 90, 0), 0)
    torch.testing.assert_close(features_of(tmp_path / "b", video, list(moved)), plain, atol=1e-3, rtol=1e-3)


def test_the_order_of_the_people_in_the_file_does_not_matter(
    video: Path, boxer: Joints, waver: Joints, tmp_path: Path
) -> None:
    plain = features_of(tmp_path / "a", video, [boxer, waver])
    torch.testing.assert_close(features_of(tmp_path / "b", video, [waver, boxer]), plain)
    one, other = boxer.copy(), waver.copy()
    one[20:], other[20:] = waver[20:], boxer[20:]  # exchanged within the file, without tracks
    torch.testing.assert_close(features_of(tmp_path / "c", video, [one, other]), plain)


def test_tracks_of_the_file_keep_people_apart_who_pass_each_other(video: Path, boxer: Joints, tmp_path: Path) -> None:
    walk = np.zeros((50, 17, 3))
    walk[:, :, 0] = np.linspace(-60, 60, 50)[:, None]
    there, back = boxer + walk, boxer - walk
    found = features_of(tmp_path / "a", video, [there, back], writer="ultralytics")
    drift = found[:, 108 - 3 : 108]  # of the person who is left on average
    assert (drift[:, 0].sign() == drift[0, 0].sign()).all()


def test_further_people_who_are_small_are_left_out(video: Path, boxer: Joints, waver: Joints, tmp_path: Path) -> None:
    small = np.where(boxer[..., 2:] > 0, boxer * (0.2, 0.2, 1) + (100, 5, 0), 0)
    plain = features_of(tmp_path / "a", video, [boxer, waver])
    torch.testing.assert_close(features_of(tmp_path / "b", video, [small, boxer, waver]), plain)


def test_one_person_leaves_the_place_of_the_second_and_the_distances_at_zero(
    video: Path, boxer: Joints, tmp_path: Path
) -> None:
    found = features_of(tmp_path / "a", video, [boxer])
    assert (found[:, IS_THERE] == 1).all()
    assert (found[:, 108:] == 0).all()


def test_nobody_gives_zeros(video: Path, boxer: Joints, tmp_path: Path) -> None:
    assert not features_of(tmp_path / "a", video, [0 * boxer]).any()


def test_velocities_are_a_second_and_in_torso_lengths(video: Path, tmp_path: Path) -> None:
    person = np.ones((50, 17, 3))
    person[..., :2] = [(40.0, 20.0 + 2 * joint) for joint in range(17)]  # shoulders at 31, hips at 43
    person[..., 0] += 24 * np.arange(50)[:, None] / 25  # pixels a second: two torso lengths
    found = features_of(tmp_path / "a", video, [person])
    expected = torch.tensor([[2.0, 0.0, 2.0]]).expand(COUNT - 1, 3)  # at the end the last frame stays
    torch.testing.assert_close(found[:-1, 105:108], expected, atol=1e-3, rtol=0)


def test_a_short_gap_is_interpolated_and_a_long_one_masked(video: Path, boxer: Joints, tmp_path: Path) -> None:
    plain = features_of(tmp_path / "a", video, [boxer])
    gap, hole = boxer.copy(), boxer.copy()
    gap[10:14, 9] = 0  # 0.2 s without the left wrist
    hole[10:40, 9] = 0
    short, long = features_of(tmp_path / "b", video, [gap]), features_of(tmp_path / "c", video, [hole])
    assert (short[:, CONFIDENCE] > 0).all()
    assert (short - plain)[:, 1:35].abs().max() < 0.3
    assert (long[2:6, CONFIDENCE][:, 9] == 0).all()
    assert (long[2:6, 1 + 2 * 9 : 3 + 2 * 9] == 0).all()
    others = [joint for joint in range(17) if joint != 9]
    torch.testing.assert_close(long[:, CONFIDENCE][:, others], plain[:, CONFIDENCE][:, others])


def test_joints_of_low_confidence_count_as_missing(video: Path, boxer: Joints, tmp_path: Path) -> None:
    doubtful = boxer.copy()
    doubtful[:, 9, 2] = 0.3
    assert (features_of(tmp_path / "a", video, [doubtful])[:, CONFIDENCE][:, 9] > 0).all()
    assert (features_of(tmp_path / "b", video, [doubtful], confidence=0.4)[:, CONFIDENCE][:, 9] == 0).all()


def test_the_mirror_image_is_that_of_mirrored_keypoints_with_sides_exchanged(
    video: Path, boxer: Joints, waver: Joints, tmp_path: Path
) -> None:
    order = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    flipped = [np.where(each[..., 2:] > 0, each * (-1, 1, 1) + (160, 0, 0), 0)[:, order] for each in (boxer, waver)]
    expected = features_of(tmp_path / "a", video, flipped)
    features_of(tmp_path / "b", video, [boxer, waver])
    made = contract()
    observed = read_clip(Clip(tmp_path / "b" / "clip.mp4"), made, view=View(mirrored=True))["pose"]
    torch.testing.assert_close(made.streams["pose"].encode(observed), expected, atol=1e-3, rtol=1e-3)  # type: ignore[attr-defined]


def test_times_are_those_of_the_video_and_not_its_frame_numbers(
    make_video: MakeVideo, boxer: Joints, video: Path, tmp_path: Path
) -> None:
    kept = [frame for frame in range(50) if frame % 3]  # a camera that drops every third frame
    (tmp_path / "a").mkdir()
    uneven = make_video(tmp_path / "a" / "clip.mp4", pts=[frame / 25 for frame in kept])
    write_coco(uneven, [boxer[kept]])
    made = contract()
    stream = made.streams["pose"]
    end = 49 / 25
    found = stream.encode(read_clip(Clip(uneven, start=0.04, end=end), made)["pose"])  # type: ignore[attr-defined]
    write_coco(whole := Path(shutil.copy(video, tmp_path / "whole.mp4")), [boxer])
    expected = stream.encode(read_clip(Clip(whole, start=0.04, end=end), made)["pose"])  # type: ignore[attr-defined]
    write_coco(even := make_video(tmp_path / "even.mp4", seconds=len(kept) / 25), [boxer[kept]])
    wrong = stream.encode(read_clip(Clip(even, start=0.04, end=end), made)["pose"])  # type: ignore[attr-defined]
    error, other = ((each - expected)[:, 1:35].abs().mean() for each in (found, wrong))
    assert error < 0.02 < 0.2 * other


def test_a_clip_of_a_video_takes_its_own_span(video: Path, boxer: Joints, tmp_path: Path) -> None:
    clip = Path(shutil.copy(video, tmp_path / "clip.mp4"))
    write_mmpose(clip, [boxer])
    half = read_clip(Clip(clip, start=1.0, end=2.0), contract())["pose"]
    cut = Path(shutil.copy(video, tmp_path / "other.mp4"))
    write_coco(cut, [np.concatenate([boxer[25:], 0 * boxer[:25]])])
    torch.testing.assert_close(half, read_clip(Clip(cut, start=0.0, end=1.0), contract())["pose"], equal_nan=True)


def test_the_cache_follows_the_content_of_the_keypoint_file_and_not_its_name(
    video: Path, boxer: Joints, tmp_path: Path
) -> None:
    clip = Path(shutil.copy(video, tmp_path / "clip.mp4"))
    file = write_coco(clip, [boxer])
    encoder, cache = load_encoder(EncoderSpec(name="none")), FeatureCache(tmp_path / "cache")

    def key(made: Contract) -> str:
        return cache.key(Clip(clip), made, "pose", content="0", view=View(), order="given", engine="x")

    before = key(contract())
    assert key(contract(gap=0.4)) != before
    (first,) = extract([Clip(clip)], encoder, contract(), cache=cache)
    file.rename(tmp_path / "clip_keypoints.json")
    assert key(contract()) == before == key(contract(keypoints=str(tmp_path)))
    write_coco(clip, [boxer[::-1]])
    assert key(contract()) != before
    (other,) = extract([Clip(clip)], encoder, contract(), cache=cache)
    assert not isinstance(first, VideoError)
    assert not isinstance(other, VideoError)
    assert not torch.equal(first["pose"], other["pose"])


def test_a_file_of_another_video_is_an_error_of_the_clip(video: Path, boxer: Joints, tmp_path: Path) -> None:
    clip = Path(shutil.copy(video, tmp_path / "clip.mp4"))
    file = write_coco(clip, [np.concatenate([boxer, boxer])])
    with pytest.raises(VideoError, match=r"clip\.mp4: corrupt: its keypoints .*clip\.json: .* 50 frames") as caught:
        read_clip(Clip(clip), contract())
    assert caught.value.path == clip
    file.unlink()
    with pytest.raises(VideoError, match=r"clip\.mp4: missing: it has no keypoint file: looked in .*clip\.json"):
        read_clip(Clip(clip), contract())


def test_frames_in_memory_need_a_pose_model() -> None:
    with pytest.raises(UsageError, match="frames in memory have none: train it with pose_model"):
        read_frames(np.zeros((20, 8, 8, 3), np.uint8), contract(), frame_rate=10.0)


@pytest.mark.parametrize(
    ("streams", "encoder", "message"),
    [
        ({"a": Stream(kind="appearance")}, "none", "encoder.name=none sees no images, and the streams 'a' give some"),
        (
            {"p": Stream(kind="pose")},
            "pixels",
            "the encoder pixels is for networks on frames, and the streams 'p' give",
        ),
        (
            {"p": Stream(kind="pose"), "a": Stream(kind="appearance")},
            "r2plus1d-18",
            "the encoder r2plus1d-18 sees a clip at once, and the streams 'p' give features a timestamp",
        ),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(streams: dict[str, Stream], encoder: str, message: str) -> None:
    loaded = load_encoder(EncoderSpec(name=encoder, weights="random"))
    with pytest.raises(UsageError, match=message):
        loaded.contract(sampling=Sampling(count=16), streams=streams, fit="stretch")


def test_a_shuffled_clip_has_the_same_poses_at_other_times(video: Path, boxer: Joints, tmp_path: Path) -> None:
    clip = Path(shutil.copy(video, tmp_path / "clip.mp4"))
    write_coco(clip, [boxer])
    given, other = (read_clip(Clip(clip), contract(), order=order)["pose"] for order in ("given", "shuffled"))
    torch.testing.assert_close(given[..., 0], other[..., 0])
    poses = [sorted(map(tuple, each[..., 2:53].nan_to_num(-1).reshape(-1, 51).tolist())) for each in (given, other)]
    assert poses[0] == poses[1]
    assert not torch.equal(given.nan_to_num(-1), other.nan_to_num(-1))
