"""Fine-tuning a part of an encoder with a head, on small random networks of timm, torchvision and transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import small_text_towers
import small_transformers
from marey.encoders import BackboneSpec, Contract, EncoderSpec, RawFrames, Stream, backbone_of
from marey.errors import ModelFormatError, UsageError, WeightsError
from marey.models import (
    ActionModel,
    Classifier,
    FineTuning,
    HeadSpec,
    LowRank,
    ModelConfig,
    count_trained,
    load_model,
    new_classifier,
    save_model,
)
from marey.models.networks.finetune import FineTunedEncoder
from marey.video import Sampling

SIDE = 64
LORA = FineTuning(lora=LowRank(rank=2, alpha=4))

Built = tuple[HeadSpec, tuple[int, int, int, int]]


def of_timm(name: str, *, grid: tuple[int, int] | None = None, head: str = "attention") -> Built:
    return HeadSpec(name=head, options={}, backbone=BackboneSpec(name=name, grid=grid)), (3, 3, SIDE, SIDE)


def of_hub(name: str, folder: Path) -> Built:
    """Write a small network, and return the head that trains it, beginning from its weights."""
    module: Any = small_text_towers if name in ("clip", "siglip2", "xclip") else small_transformers
    write = module.write_tower if module is small_text_towers else module.write_transformer
    encoder = write(name, folder)
    backbone, size = backbone_of(encoder, frames=module.FRAMES)
    return HeadSpec(name="mean", options={}, weights=encoder.weights, backbone=backbone), (module.FRAMES, 3, *size)


def network(built: Built, tuning: FineTuning | None = None, *, seed: int = 0) -> FineTunedEncoder:
    spec, shape = built
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = Classifier(spec, {"appearance": shape}, 2)
        if spec.weights != "random":
            made.load_pretrained(spec.weights)
        if tuning is not None:
            made.begin_training(tuning)
    head = made.heads[0]
    assert isinstance(head, FineTunedEncoder)
    return head


def frames(head: FineTunedEncoder, count: int = 4) -> Tensor:
    return torch.randint(0, 256, (count, *head.shape), generator=torch.Generator().manual_seed(0)).float()


def logits(head: FineTunedEncoder) -> Tensor:
    clips = frames(head)
    with torch.no_grad():
        found: Tensor = head.eval()(clips, torch.ones(clips.shape[:2], dtype=torch.bool))
    return found


def trained(head: FineTunedEncoder) -> set[str]:
    """Train for some steps; return the names of the tensors that changed."""
    before = {name: values.clone() for name, values in head.state_dict().items()}
    clips = frames(head)
    head.train()
    optimiser = torch.optim.Adam([each for each in head.parameters() if each.requires_grad], lr=0.01)
    for _ in range(3):
        output = head(clips, torch.ones(clips.shape[:2], dtype=torch.bool))
        nn.functional.cross_entropy(output, torch.tensor([0, 1, 0, 1])).backward()
        optimiser.step()
        optimiser.zero_grad()
    head.eval()
    return {name for name, values in head.state_dict().items() if not torch.equal(values, before[name])}


def of_network(names: set[str]) -> set[str]:
    return {name.removeprefix("frames.network.") for name in names if name.startswith("frames.")}


@pytest.mark.parametrize("unfreeze", [1, 2])
@pytest.mark.parametrize(
    ("backbone", "block"), [("test_vit", "blocks."), ("test_efficientnet", "blocks."), ("test_resnet", "layer")]
)
def test_the_last_blocks_change_and_those_before_do_not(backbone: str, block: str, unfreeze: int) -> None:
    head = network(of_timm(backbone), FineTuning(unfreeze))
    names = sorted({name for name, _ in head.frames.network.named_modules() if name[len(block) :].isdigit()})
    changed = of_network(trained(head))
    for number, name in enumerate(name for name in names if name.startswith(block)):
        found = any(each.startswith(f"{name}.") for each in changed)
        assert found == (number >= len(names) - unfreeze), name
    assert not any(each.startswith(("patch_embed", "pos_embed", "conv1", "bn1.running")) for each in changed)


@pytest.mark.parametrize(
    ("name", "last", "after"),
    [
        ("videomae", "encoder.layer.1.", ()),
        ("timesformer", "encoder.layer.1.", ("layernorm.",)),
        ("vjepa2", "encoder.layer.1.", ("encoder.layernorm.",)),
        ("videoprism", "temporal_layers.1.", ("layernorm2.",)),
        ("clip", "vision_model.encoder.layers.1.", ("vision_model.post_layernorm.", "visual_projection.")),
        ("siglip2", "vision_model.encoder.layers.1.", ("vision_model.post_layernorm.", "vision_model.head.")),
        (
            "xclip",
            "vision_model.encoder.layers.1.",
            ("vision_model.post_layernorm.", "visual_projection.", "mit.", "prompts_visual_layernorm."),
        ),
    ],
)
def test_the_last_layer_of_a_transformer_changes_with_the_norms_after_it(
    name: str, last: str, after: tuple[str, ...], tmp_path: Path
) -> None:
    changed = trained(network(of_hub(name, tmp_path), FineTuning(1)))
    assert any(each.startswith("head.linear") for each in changed)
    inner = of_network(changed)
    assert any(each.startswith(last) for each in inner)
    assert all(each.startswith((last, *after)) for each in inner)


def test_layers_between_the_trained_ones_are_trained_too(tmp_path: Path) -> None:
    changed = of_network(trained(network(of_hub("videoprism", tmp_path), FineTuning(3))))
    assert any(each.startswith("spatial_layers.1.") for each in changed)
    assert any(each.startswith("layernorm1.") for each in changed)
    assert not any(each.startswith("spatial_layers.0.") for each in changed)


def test_nothing_of_the_encoder_changes_where_nothing_of_it_is_trained() -> None:
    assert not of_network(trained(network(of_timm("test_resnet"), FineTuning())))


def test_frozen_layers_drop_nothing_and_keep_their_statistics_while_the_others_train() -> None:
    head = network(of_timm("test_resnet"), FineTuning(1)).train()
    inner = head.frames.network
    assert not any(module.training for module in inner.get_submodule("layer1").modules())
    assert all(module.training for module in inner.get_submodule("layer4").modules())
    assert head.head.training
    assert not any(module.training for module in head.eval().modules())


def test_no_gradient_is_kept_for_frozen_layers() -> None:
    head = network(of_timm("test_vit"), FineTuning(1)).train()
    kept: list[bool] = []
    for number in (0, 5):
        block = head.frames.network.get_submodule(f"blocks.{number}")
        block.register_forward_hook(lambda _, __, output: kept.append(output.requires_grad))
    clips = frames(head)
    head(clips, torch.ones(clips.shape[:2], dtype=torch.bool)).sum().backward()
    assert kept == [False, True]


def test_the_order_of_the_frames_changes_the_answer() -> None:
    head = network(of_timm("test_vit")).eval()
    clips = frames(head)
    mask = torch.ones(clips.shape[:2], dtype=torch.bool)
    assert not torch.allclose(head(clips, mask), head(clips.flip(1), mask), atol=1e-6)


@pytest.mark.parametrize("name", ["test_vit", "videomae", "timesformer", "vjepa2", "videoprism", "clip", "xclip"])
def test_adapters_and_head_alone_change_and_the_merged_model_answers_the_same(name: str, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="the extra 'lora' is not installed")
    try:
        head = network(of_timm(name) if name.startswith("test") else of_hub(name, tmp_path), LORA)
    except UsageError as error:
        if "without calling the layer" not in str(error):
            raise
        pytest.skip(f"this version of transformers does not call the layers of {name}: {error}")
    plain = set(network(of_timm(name) if name.startswith("test") else of_hub(name, tmp_path)).state_dict())
    changed = trained(head)
    assert all("lora_" in each for each in of_network(changed))
    assert any("lora_B" in each for each in of_network(changed))
    adapted = [each for each in head.frames.network.state_dict() if "lora_B" in each]
    assert {f"frames.network.{each}" for each in adapted} <= changed  # none of them is without effect
    before = logits(head)
    head.finish_training()
    torch.testing.assert_close(logits(head), before, rtol=0, atol=1e-5)
    assert set(head.state_dict()) == plain


def test_adapters_may_be_placed_beside_layers_that_are_named() -> None:
    pytest.importorskip("peft", reason="the extra 'lora' is not installed")
    head = network(of_timm("test_vit"), FineTuning(lora=LowRank(rank=1, modules=("fc1",))))
    adapted = [each for each in head.frames.network.state_dict() if "lora_A" in each]
    assert adapted
    assert all(".mlp.fc1." in each for each in adapted)


@pytest.mark.parametrize(
    ("name", "lora", "message"),
    [
        ("test_resnet", LowRank(), "test_resnet has no attention with layers to queries and values.*unfreeze=2"),
        ("test_vit", LowRank(modules=("qvk",)), "test_vit has no linear layer 'qvk'; did you mean 'qkv'"),
        ("eva02_tiny_patch14_224", LowRank(), r"takes the weights of 'blocks\.0\.attn\.qkv' without calling the layer"),
    ],
)
def test_adapters_that_cannot_be_placed_are_refused(name: str, lora: LowRank, message: str) -> None:
    pytest.importorskip("peft", reason="the extra 'lora' is not installed")
    spec, shape = of_timm(name)
    shape = (3, 3, 56, 56) if name.startswith("eva") else shape
    with pytest.raises(UsageError, match=message):
        count_trained(spec, {"appearance": shape}, 2, FineTuning(lora=lora))


def test_the_parameters_are_counted_as_they_are_trained() -> None:
    spec, shape = of_timm("test_vit")
    found = count_trained(spec, {"appearance": shape}, 2, FineTuning(1))
    head = network((spec, shape), FineTuning(1))
    every = [each.numel() for each in head.parameters()]
    assert found.trained == sum(each.numel() for each in head.parameters() if each.requires_grad)
    assert found.trained + found.frozen == found.kept == sum(every)
    assert str(found) == f"{found.trained:,} trained, {found.kept:,} in all"


def contract_of(shape: tuple[int, int, int, int]) -> Contract:
    return RawFrames(EncoderSpec(name="pixels", size=shape[2:])).contract(
        sampling=Sampling(count=shape[0]), streams={"appearance": Stream(kind="appearance")}, fit="stretch"
    )


def saved(built: Built, tuning: FineTuning, folder: Path) -> tuple[Tensor, Tensor]:
    """Train, save into a folder, and return a clip and the answer to it."""
    spec, shape = built
    contract = contract_of(shape)
    classifier = new_classifier(contract, spec, 2)
    if spec.weights != "random":
        classifier.load_pretrained(spec.weights)
    classifier.begin_training(tuning)
    head = classifier.heads[0]
    assert isinstance(head, FineTunedEncoder)
    trained(head)
    classifier.finish_training()
    config = ModelConfig(contract=contract, head=spec, labels=("a", "b"))
    save_model(ActionModel(config, classifier.eval()), folder)
    clip = frames(head, 1)[0].to(torch.uint8)
    with torch.no_grad():
        return clip, classifier({"appearance": clip[None]}).double().softmax(-1)[0]


@pytest.mark.parametrize(
    "name",
    [
        *("test_vit", "test_resnet", "vit_tiny_patch16_dinov3_qkvb.eupe_lvd1689m"),
        *("videomae", "timesformer", "vjepa2", "videoprism", "clip", "siglip2", "xclip"),
    ],
)
def test_a_saved_model_gives_the_same_answer_without_any_other_file(name: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    timm = name.startswith(("test", "vit"))
    clip, expected = saved(of_timm(name) if timm else of_hub(name, weights), FineTuning(1), tmp_path / "m")
    if not timm:
        weights.rename(tmp_path / "elsewhere")
    loaded = load_model(tmp_path / "m")
    torch.testing.assert_close(loaded.probabilities({"appearance": clip}), expected, rtol=0, atol=1e-6)


_WITHOUT = """
import sys
sys.modules["peft"] = None
sys.modules["accelerate"] = None
import torch
from marey.models import load_model
model = load_model(sys.argv[1])
clip = torch.load(sys.argv[2], weights_only=True)
print(model.probabilities({"appearance": clip}).tolist())
"""


def test_a_model_with_merged_adapters_is_loaded_without_peft(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="the extra 'lora' is not installed")
    clip, expected = saved(of_timm("test_vit"), LORA, tmp_path / "m")
    torch.save(clip, tmp_path / "clip.pt")
    call = [sys.executable, "-c", _WITHOUT, str(tmp_path / "m"), str(tmp_path / "clip.pt")]
    found = subprocess.run(call, capture_output=True, text=True, check=True)  # noqa: S603 - our own program
    assert json.loads(found.stdout) == pytest.approx(expected.tolist(), abs=1e-6)


def test_without_peft_the_line_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UsageError, match=r"training\.lora needs the package peft.*install.*lora"):
        network(of_timm("test_vit"), LORA)


def test_a_model_that_needs_a_package_names_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(of_hub("videomae", tmp_path / "weights"), FineTuning(1), tmp_path / "m")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"'videomae' needs the package transformers: .*install"):
        load_model(tmp_path / "m")


def test_a_model_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    clip, expected = saved(of_timm("test_vit"), FineTuning(1), tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    options = {"backbone": "test_vit", "unfreeze": 1}
    del config["config_hash"], config["weights_hash"]
    config["head"] = {"name": "finetune", "fusion": "late", "weights": "random", "options": options}
    path.write_text(json.dumps(config))
    torch.testing.assert_close(
        load_model(tmp_path / "m").probabilities({"appearance": clip}), expected, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1e"),
        ({"hidden_size": 10**9}, "hidden_size is 1e"),
        ({"attn_implementation": "someone/kernel"}, "'attn_implementation' is no key of a VideoMAEConfig"),
        ({"auto_map": {"AutoModel": "code.py"}}, "'auto_map' is no key of a VideoMAEConfig"),
    ],
)
def test_a_model_folder_cannot_name_code_or_a_network_without_end(
    configuration: dict[str, Any], message: str, tmp_path: Path
) -> None:
    saved(of_hub("videomae", tmp_path / "weights"), FineTuning(1), tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    config["head"]["backbone"]["configuration"] |= configuration
    path.write_text(json.dumps(config))
    with pytest.raises(ModelFormatError, match=message):
        load_model(tmp_path / "m")


def test_the_scale_of_the_features_is_fitted_to_the_clips_as_for_frozen_ones() -> None:
    head = network(of_timm("test_vit", head="mean"))
    clips = frames(head, 8)
    head.eval().fit_to_clips([clips[:4], clips[4:]])
    with torch.no_grad():
        features = head.frames(head._normalised(clips))
    torch.testing.assert_close(head.head.standardise.mean, features.mean((0, 1)), rtol=1e-3, atol=1e-4)


def test_a_grid_says_where_in_the_image_as_for_the_frozen_encoder() -> None:
    cells, plain = (network(of_timm("test_resnet", grid=grid)) for grid in ((2, 1), None))
    found, usual = (head.frames(head._normalised(frames(head))).shape[-1] for head in (cells, plain))
    assert found == 2 * usual


def test_weights_of_a_file_are_where_the_training_begins(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    one, other = network(of_timm("test_vit")), network(of_timm("test_vit"), seed=1)
    save_file(
        {name: each.contiguous() for name, each in one.frames.network.state_dict().items()}, tmp_path / "w.safetensors"
    )
    other.load_pretrained(str(tmp_path / "w.safetensors"))
    for name, values in one.frames.network.state_dict().items():
        assert torch.equal(other.frames.network.state_dict()[name], values), name


def test_weights_of_another_configuration_are_refused(tmp_path: Path) -> None:
    spec, shape = of_hub("timesformer", tmp_path / "one")
    small_transformers.small_network("timesformer", qkv_bias=False).save_pretrained(tmp_path / "other")
    head = network((spec, shape))
    with pytest.raises(WeightsError, match="are not those of the configuration that the recipe has of 'timesformer'"):
        head.load_pretrained(str(tmp_path / "other"))


def test_more_blocks_than_there_are_and_networks_that_do_not_exist_are_refused() -> None:
    with pytest.raises(UsageError, match=r"test_vit has 6 blocks, and 7 are to be trained: lower training\.unfreeze"):
        network(of_timm("test_vit"), FineTuning(7))
    with pytest.raises(UsageError, match="no encoder is called 'test_vat'; did you mean 'test_vit'"):
        network(of_timm("test_vat"))
    with pytest.raises(UsageError, match="takes frames of three channels, not 1"):
        network((HeadSpec(name="mean", options={}, backbone=BackboneSpec(name="test_vit")), (3, 1, SIDE, SIDE)))
    with pytest.raises(UsageError, match="not made of blocks"):
        network(of_timm("vgg11"), FineTuning(1))
    with pytest.raises(UsageError, match="the encoder 'pixels' cannot be trained"):
        network(of_timm("pixels"))
    with pytest.raises(UsageError, match="the data holds features"):
        Classifier(of_timm("test_vit")[0], {"appearance": (12,)}, 2)
    with pytest.raises(UsageError, match=r"training\.unfreeze=1 trains a part of an encoder, and a MeanHead has none"):
        Classifier(HeadSpec(name="mean", options={}), {"appearance": (12,)}, 2).begin_training(FineTuning(1))
