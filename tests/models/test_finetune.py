"""Fine-tuning the last blocks of an image network, on the tiny random ones of timm."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from marey.encoders import Contract, EncoderSpec, RawFrames, Stream
from marey.errors import UsageError
from marey.models import ActionModel, Head, HeadSpec, ModelConfig, create_head, load_model, new_classifier, save_model
from marey.models.networks.finetune import FineTunedEncoder
from marey.video import Sampling

T, SIDE = 3, 64


def network(backbone: str, unfreeze: int, *, seed: int = 0) -> FineTunedEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made: Head = create_head("finetune", (T, 3, SIDE, SIDE), 2, {"backbone": backbone, "unfreeze": unfreeze})
    assert isinstance(made, FineTunedEncoder)
    return made


def frames(count: int = 4) -> Tensor:
    return torch.randint(0, 256, (count, T, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0)).float()


def mask(clips: Tensor) -> Tensor:
    return torch.ones(clips.shape[:2], dtype=torch.bool)


def trained(head: Head) -> set[str]:
    """Train for some steps; return the names of the tensors that changed."""
    before = {name: values.clone() for name, values in head.state_dict().items()}
    head.train()
    optimiser = torch.optim.Adam([each for each in head.parameters() if each.requires_grad], lr=0.01)
    for _ in range(3):
        loss = nn.functional.cross_entropy(head(frames(), mask(frames())), torch.tensor([0, 1, 0, 1]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    head.eval()
    return {name for name, values in head.state_dict().items() if not torch.equal(values, before[name])}


@pytest.mark.parametrize("unfreeze", [1, 2])
@pytest.mark.parametrize(
    ("backbone", "block"), [("test_vit", "blocks."), ("test_efficientnet", "blocks."), ("test_resnet", "layer")]
)
def test_the_last_blocks_change_and_those_before_do_not(backbone: str, block: str, unfreeze: int) -> None:
    head = network(backbone, unfreeze)
    names = sorted({name for name, _ in head.frames.network.named_modules() if name[len(block) :].isdigit()})
    changed = {name.removeprefix("frames.network.") for name in trained(head) if name.startswith("frames.")}
    for number, name in enumerate(name for name in names if name.startswith(block)):
        found = any(each.startswith(f"{name}.") for each in changed)
        assert found == (number >= len(names) - unfreeze), name
    assert not any(each.startswith(("patch_embed", "pos_embed", "conv1", "bn1.running")) for each in changed)


def test_frozen_layers_drop_nothing_and_keep_their_statistics_while_the_others_train() -> None:
    head = network("test_resnet", 1).train()
    inner = head.frames.network
    assert not any(module.training for module in inner.get_submodule("layer1").modules())
    assert all(module.training for module in inner.get_submodule("layer4").modules())
    assert head.head.training
    assert not any(module.training for module in head.eval().modules())


def test_the_order_of_the_frames_changes_the_answer() -> None:
    head = network("test_vit", 1).eval()
    clips = frames()
    assert not torch.allclose(head(clips, mask(clips)), head(clips.flip(1), mask(clips)), atol=1e-6)


@pytest.mark.parametrize("backbone", ["test_vit", "test_resnet", "vit_tiny_patch16_dinov3_qkvb.eupe_lvd1689m"])
def test_a_saved_model_gives_the_same_answer_without_any_other_file(backbone: str, tmp_path: Path) -> None:
    spec = HeadSpec(name="finetune", options={"backbone": backbone, "unfreeze": 1})
    contract = RawFrames(EncoderSpec(name="pixels", size=SIDE)).contract(
        sampling=Sampling(count=T), streams={"appearance": Stream(kind="appearance")}, fit="stretch"
    )
    assert isinstance(contract, Contract)
    torch.manual_seed(0)
    classifier = new_classifier(contract, spec, 2)
    trained(classifier.heads[0])  # type: ignore[arg-type]
    save_model(
        ActionModel(ModelConfig(contract=contract, head=spec, labels=("a", "b")), classifier.eval()), tmp_path / "m"
    )
    clip = {"appearance": frames(1)[0].to(torch.uint8)}
    loaded = load_model(tmp_path / "m")
    with torch.no_grad():
        expected = classifier({"appearance": clip["appearance"][None]}).double().softmax(-1)[0]
    torch.testing.assert_close(loaded.probabilities(clip), expected, rtol=0, atol=1e-6)


def test_weights_of_a_file_are_where_the_training_begins(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    one, other = network("test_vit", 1), network("test_vit", 1, seed=1)
    save_file(
        {name: each.contiguous() for name, each in one.frames.network.state_dict().items()}, tmp_path / "w.safetensors"
    )
    other.load_pretrained(str(tmp_path / "w.safetensors"))
    for name, values in one.frames.network.state_dict().items():
        assert torch.equal(other.frames.network.state_dict()[name], values), name


def test_more_blocks_than_there_are_and_networks_that_do_not_exist_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"test_vit has 6 blocks, and 7 are to be trained: lower head\.options\.unfreeze"
    ):
        network("test_vit", 7)
    with pytest.raises(UsageError, match="unfreeze of the head 'finetune' has to be a whole number"):
        network("test_vit", 0)
    with pytest.raises(UsageError, match="no encoder is called 'test_vat'; did you mean 'test_vit'"):
        network("test_vat", 1)
    with pytest.raises(UsageError, match="takes three channels, not 1"):
        create_head("finetune", (T, 1, SIDE, SIDE), 2)
    with pytest.raises(UsageError, match="not made of blocks"):
        network("vgg11", 1)
