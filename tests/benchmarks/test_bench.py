"""The measurements themselves: what they write, what they refuse, and what they leave out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As scripts that lie beside each other import each other."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in set(sys.modules) - before:
        if (file := getattr(sys.modules[name], "__file__", None)) and Path(file).parent == BENCHMARKS:
            del sys.modules[name]


def test_the_results_say_on_which_machine_and_with_what_the_ratios_were_measured(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import bench
    from measure import Line, Setting

    def measure(setting: Setting) -> list[Line]:
        assert setting.data == small_set
        setting.left_out["the other way"] = "it is not installed"
        return [Line("import", tuple(0.1 for _ in range(setting.repeat)), "x", at_most=0.25)]

    monkeypatch.setitem(bench.BENCHMARKS, "import", measure)
    arguments = ["--only", "import", "--repeat", "7", "--data", str(small_set), "--out", str(tmp_path / "results")]
    monkeypatch.setattr("sys.argv", ["bench.py", *arguments])
    bench.main()
    (path,) = (tmp_path / "results").iterdir()
    found = json.loads(path.read_text())
    assert path.name.endswith("-import.json")
    assert found["ratios"] == {"import": {"value": 0.1, "target": 0.25, "holds": True, "spread": 0.0}}
    assert len(found["figures"]["import"]["runs"]) == 7
    assert found["left_out"] == {"the other way": "it is not installed"}
    assert found["machine"]["cores"] >= 1
    assert "torch" in found["machine"]["versions"]
    assert "the other way: not measured: it is not installed" in capsys.readouterr().out


def test_a_benchmark_of_another_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import bench

    monkeypatch.setattr("sys.argv", ["bench.py", "--only", "decode_vhs"])
    with pytest.raises(SystemExit, match="2"):
        bench.main()
    said = capsys.readouterr().err
    assert "decode_vhs" in said
    assert "sliding" in said


def test_a_ratio_is_asked_for_by_its_name_and_no_two_benchmarks_have_one_name() -> None:
    import bench

    assert set(bench.PART_OF.values()) <= {*bench.BENCHMARKS, *bench.BY_NAME}
    assert not (bench.PART_OF.keys() - {"sliding", "import"}) & bench.BENCHMARKS.keys()
    for ratio in ("keras_vgg16_bilstm", "resnet50_labels", "lite0_limit", "two_processes", "clips_5000"):
        assert ratio in bench.PART_OF


def test_a_figure_is_its_median_held_against_its_target() -> None:
    import bench
    from measure import Line

    lines = [
        Line("quick", (1.0, 4.0, 3.0), "x", at_least=2.0, note="of three"),
        Line("slow", (2.0,), "x", at_most=1.5),
        Line("beside", (1.0, 1.0)),
    ]
    found = bench.figures(lines, {"keras": "it is not here"})
    assert found["ratios"] == {
        "quick": {"value": 3.0, "target": 2.0, "holds": True, "spread": 1.0},
        "slow": {"value": 2.0, "target": 1.5, "holds": False, "spread": None},
    }
    assert found["figures"]["quick"]["note"] == "of three"
    assert found["left_out"] == {"keras": "it is not here"}


def test_a_baseline_that_cannot_be_had_is_named(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vgg
    from measure import Setting

    (tmp_path / "file").touch()
    monkeypatch.setattr(vgg, "_ENVIRONMENT", tmp_path / "file" / "environment")  # where none can be made
    setting = Setting(small_set, tmp_path, 1, 1)
    assert vgg.train_usually(setting) is None
    assert "venv" in setting.left_out["keras_vgg16_bilstm"]


def test_copies_have_the_same_pictures_and_another_content(tmp_path: Path) -> None:
    from marey.data import content_hash
    from marey.video import decode
    from samples import copies, film, film_mpeg4

    for make, name in ((film, "a.mp4"), (film_mpeg4, "a.avi")):
        original = make(tmp_path / name, width=64, height=48, duration=0.4)
        made = copies(original, 2, tmp_path / "copies")
        assert len({content_hash(path) for path in (original, *made)}) == 3
        expected = decode(original, [0.0, 0.2, 0.3]).data
        assert all(np.array_equal(decode(path, [0.0, 0.2, 0.3]).data, expected) for path in made)


@pytest.mark.long
def test_the_process_that_is_measured_says_what_each_manifest_took_and_its_peak_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import extraction

    monkeypatch.setattr(extraction, "_MANY", 12)
    monkeypatch.setattr(extraction, "_FILES", 2)
    clips = extraction._spans(tmp_path)
    assert len(set(clips)) == 12
    seconds, peak = extraction._extract_alone([clips[:2], clips[2:]], tmp_path)
    assert len(seconds) == 2
    assert min(seconds) > 0
    assert peak > 100e6


def test_the_roofline_of_a_layer_is_the_slower_of_its_operations_and_its_bytes() -> None:
    import torch
    from torch import nn

    from roofline import Roofline

    network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU()).eval()
    batch = torch.zeros(2, 3, 10, 10)
    flops = 2 * (2 * 8 * 8 * 8) * (3 * 3 * 3)
    moved = 2 * (2 * 3 * 100 + 2 * 8 * 64 + 8 * 3 * 9)
    assert Roofline(product=1.0, copy=float("inf")).seconds(network, batch) == pytest.approx(flops)
    assert Roofline(product=float("inf"), copy=1.0).seconds(network, batch) == pytest.approx(moved)


@pytest.mark.long
def test_the_measurements_of_a_gpu_go_their_way_on_a_cpu(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gpu
    import gpu_files
    import gpu_networks
    from measure import Setting

    monkeypatch.setattr(gpu, "_NETWORKS", gpu._NETWORKS[:1])
    monkeypatch.setattr(gpu, "_TRAINED", {"lrcn-small": ()})
    monkeypatch.setattr(gpu_networks, "NETWORKS", gpu_networks.NETWORKS[:2])
    monkeypatch.setattr(gpu_files, "_NETWORKS", gpu_files._NETWORKS[:1])
    setting = Setting(small_set, tmp_path, 1, 1, device="cpu", quick=True)
    found = {line.name: line for line in gpu.measure(setting)}
    assert {"gpu_roofline_resnet50", "gpu_labels_efficientnet-lite0_mpeg4", "gpu_agreement"} <= found.keys()
    assert found["gpu_agreement"].holds
    assert all(value >= 0 for line in found.values() for value in line.runs)
    assert all("GPU" in why for why in setting.left_out.values())
