"""Recipes that train a part of their encoder: how they are written and read, and what one training does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from marey.encoders import BackboneSpec
from marey.errors import RecipeError, UsageError
from marey.models import Classifier, HeadSpec
from marey.training import Task, Training, checkpoint, fit, load_recipe
from marey.training.batches import FrameSet
from marey.training.recipe import Recipe
from small_transformers import FRAMES, SIDE, write_transformer

pytest.importorskip("lightning", reason="the extra 'networks' is not installed")

CLIPS, CLASSES = 12, 2


def of(base: str, *changes: str) -> Recipe:
    return load_recipe(base, changes=changes)


def test_a_frozen_recipe_becomes_a_network_on_frames_with_its_own_head(tmp_path: Path) -> None:
    write_transformer("videomae", tmp_path)
    changes = (f"encoder.weights={tmp_path}", f"sampling.count={FRAMES}", "encoder.grid=[2, 1]")
    frozen, tuned = of("videomae", *changes), of("videomae", *changes, "training.unfreeze=2")
    assert (tuned.encoder.name, tuned.encoder.size) == ("pixels", (SIDE, SIDE))
    assert (tuned.head.name, tuned.head.options) == (frozen.head.name, frozen.head.options)
    assert tuned.head.weights == str(tmp_path)
    assert tuned.head.backbone is not None
    assert (tuned.head.backbone.name, tuned.head.backbone.grid) == ("videomae", (2, 1))
    assert tuned.head.backbone.configuration["hidden_size"] == 24
    assert tuned.count_trained(CLASSES).trained > frozen.training.unfreeze == 0
    assert {key for key in frozen.search if key.startswith("head")} <= set(tuned.search)


def test_the_settings_of_a_probe_are_replaced_but_for_those_that_are_named() -> None:
    usual = of("finetune").training
    tuned = of("dinov2", "encoder.size=56", "training.lora.rank=4", "training.epochs=7").training
    assert (tuned.learning_rate, tuned.batch_size) == (usual.learning_rate, usual.batch_size)
    assert (tuned.epochs, tuned.frame_dropout, tuned.unfreeze) == (7, 0.0, 0)
    assert tuned.lora is not None
    assert tuned.lora.rank == 4


def test_a_recipe_of_ones_own_is_taken_as_it_is_written(tmp_path: Path) -> None:
    text = of("dinov2", "training.frame_dropout=0").to_yaml().replace("unfreeze: 0", "unfreeze: 1")
    (tmp_path / "own.yaml").write_text(text.partition("search:")[0])
    own = load_recipe(tmp_path / "own.yaml", changes=["encoder.size=56"])
    assert own.training.learning_rate == of("dinov2").training.learning_rate
    assert own.head.backbone is not None


@pytest.mark.parametrize("change", ["training.unfreeze=2", "training.lora={rank: 4}"])
def test_what_it_becomes_is_written_and_read_again(change: str, tmp_path: Path) -> None:
    tuned = of("dinov2", "encoder.size=56", change)
    (tmp_path / "again.yaml").write_text(tuned.to_yaml())
    assert load_recipe(tmp_path / "again.yaml") == tuned


def test_the_head_finetune_of_an_earlier_version_is_read_with_a_warning(tmp_path: Path) -> None:
    text = of("finetune").to_yaml()
    begin, end = text.index("encoder:"), text.index("selection:")
    old = (
        "encoder: {name: pixels, size: 56}\n"
        "head: {name: finetune, weights: pretrained, options: {backbone: test_vit, unfreeze: 3, dropout: 0.1}}\n"
    )
    rest = text[end:].replace("  unfreeze: 2\n", "").replace("  lora: null\n", "")
    (tmp_path / "old.yaml").write_text(text[:begin] + old + rest)
    with pytest.warns(FutureWarning, match=r"the head 'finetune' is now an encoder, a head and training\.unfreeze"):
        found = load_recipe(tmp_path / "old.yaml")
    assert found.head == HeadSpec(
        name="attention", weights="pretrained", options={"dropout": 0.1}, backbone=BackboneSpec(name="test_vit")
    )
    assert (found.training.unfreeze, found.encoder.size) == (3, (56, 56))


def test_the_old_keys_are_read_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match=r"'head\.options\.unfreeze' is now called 'training\.unfreeze'"):
        assert of("finetune", "head.options.unfreeze=4").training.unfreeze == 4
    with pytest.warns(FutureWarning, match=r"'head\.options\.backbone' is now called 'encoder\.name'"):
        backbone = of("finetune", "head.options.backbone=test_vit").head.backbone
    assert backbone is not None
    assert backbone.name == "test_vit"


@pytest.mark.parametrize(
    ("base", "changes", "sentence"),
    [
        (
            "auto",
            ("training.unfreeze=2",),
            "solver: logistic has no steps, and trains no encoder: begin from the recipe",
        ),
        ("finetune", ("training.lora.rank=4",), "unfreeze=2 and lora are two ways to train an encoder: leave one out"),
        (
            "cnn-lstm",
            ("training.unfreeze=2",),
            r"trains a part of an encoder, and a 'cnn-lstm' on grey-pixels has none",
        ),
        ("siglip2-zeroshot", ("training.unfreeze=1",), "zero-shot has nothing to train"),
        ("mvit-v2-s", ("training.lora.rank=4",), r"training\.lora trains a part of an encoder"),
        ("dinov2", ("training.unfreeze=2", "training.frame_dropout=0.1"), "frame_dropout change features"),
        ("dinov2", ("training.unfreeze=2", "encoder.precision=bfloat16"), r"see training\.precision"),
        ("dinov2", ("training.unfreeze=-1",), r"'training\.unfreeze'.*greater than or equal to 0"),
        ("dinov2", ("training.lora.rnak=4",), r"no key is called 'training\.lora\.rnak'; did you mean 'rank'"),
        ("dinov2", ("training.lora.modules=[]",), r"training\.lora\.modules"),
        ("dinov2", ("training.lora.rank=0",), r"training\.lora\.rank.*greater than or equal to 1"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(base: str, changes: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        of(base, *changes)


def test_the_number_of_blocks_is_searched_where_the_encoder_is_trained() -> None:
    search = "search={training.unfreeze: {choices: [1, 2]}}"
    assert set(of("dinov2", "encoder.size=56", "training.unfreeze=1", search).search) == {"training.unfreeze"}
    with pytest.raises(RecipeError, match=r"'training\.unfreeze' is searched where the recipe trains its encoder"):
        of("dinov2", search)


def test_more_blocks_than_there_are_are_refused_before_any_clip_is_read() -> None:
    tuned = of("finetune", "encoder.name=test_vit", "encoder.size=64", "training.unfreeze=7")
    with pytest.raises(UsageError, match="test_vit has 6 blocks, and 7 are to be trained"):
        tuned.require_training()


def task(log_dir: Path | None = None, *, seed: int = 0) -> Task:
    """A training on two classes of frames, darker and brighter ones."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(CLIPS) % CLASSES
    images = torch.randint(0, 100, (CLIPS, 3, 3, 32, 32), dtype=torch.uint8, generator=generator)
    for number, label in enumerate(labels.tolist()):
        images[number] += 120 * label
    clips = FrameSet((tuple({"appearance": each} for each in images),), labels, CLASSES, 3, batch_size=4)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        spec = HeadSpec(name="mean", options={}, backbone=BackboneSpec(name="test_vit"))
        classifier = Classifier(spec, {"appearance": (3, 3, 32, 32)}, CLASSES)
    return Task(classifier, clips, seed, validation=clips, log_dir=log_dir)


def settings(**changes: object) -> Training:
    return Training.model_validate({"epochs": 4, "batch_size": 4, "learning_rate": 0.003, "retrain": "none", **changes})


def state_of(classifier: Classifier) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in classifier.state_dict().items()}


EACH = pytest.mark.parametrize("tuning", [{"unfreeze": 1}, {"lora": {"rank": 2, "dropout": 0.1}}])


@EACH
def test_a_drawn_pair_of_classes_is_learnt(tuning: dict[str, object]) -> None:
    if "lora" in tuning:
        pytest.importorskip("peft", reason="the extra 'lora' is not installed")
    found = fit(task(), settings(**tuning, epochs=12))
    assert max(found.history["val_macro_f1"]) > 0.9


@EACH
def test_a_training_that_was_stopped_ends_with_the_same_bits(
    tuning: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "lora" in tuning:
        pytest.importorskip("peft", reason="the extra 'lora' is not installed")
    monkeypatch.setattr("marey.training.checkpoint.CHECKPOINT_EVERY", 0.0)
    whole = state_of(fit(task(), settings(**tuning)).classifier)
    write = checkpoint.write_checkpoint

    def stop(state: dict[str, object], path: Path) -> None:
        write(state, path)
        if len(state["training"]["history"]["train_loss"]) == 2:  # type: ignore[index]
            raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr("marey.training.loop.write_checkpoint", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(task(tmp_path), settings(**tuning))
    resumed = state_of(fit(task(tmp_path), settings(**tuning)).classifier)
    assert whole.keys() == resumed.keys()
    for name, values in whole.items():
        assert torch.equal(values, resumed[name]), name
    assert not any("lora" in name for name in whole)


def test_the_frozen_part_has_the_same_bits_after_a_training() -> None:
    one = task()
    before = state_of(one.classifier)
    after = state_of(fit(one, settings(unfreeze=1)).classifier)
    changed = {name.removeprefix("heads.0.") for name in after if not torch.equal(before[name], after[name])}
    assert changed
    assert all(
        name.startswith(("head.", "frames.network.blocks.5.", "frames.network.norm.", "frames.network.fc_norm."))
        for name in changed
    )
