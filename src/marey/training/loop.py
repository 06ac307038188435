"""The training loop: one classifier, from features or from frames."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import nll_loss

from marey.encoders import family_of
from marey.errors import UsageError
from marey.evaluation import macro_f1_of
from marey.models import Classifier, fuse
from marey.training.augmentation import Augmentation
from marey.training.batches import WHOLE, Batch, ClipSet, FeatureSet, TrainingBatches, count_predictions
from marey.training.checkpoint import (
    CHECKPOINT,
    QUANTITIES,
    History,
    Throttle,
    read_checkpoint,
    write_checkpoint,
    write_logs,
)
from marey.training.epochs import report_epoch
from marey.training.optimizer import Optimizer
from marey.training.process_group import (
    FABRIC_PRECISION,
    ProcessGroup,
    fault_of_others,
    lightning_fabric,
    silent_lightning,
)
from marey.training.recipe import Recipe
from marey.training.schedule import TrainingState, schedule
from marey.training.settings import Training
from marey.training.synced_batch_norm import synced_batch_norm


@dataclass(frozen=True)
class Task:
    """A training to run.

    Attributes:
        classifier: untrained; it is trained in place.
        clips: the training clips.
        seed: for order, augmentation and dropout.
        validation: the clips that choose the best epoch; without them all epochs run and the last one is kept.
        epochs: replaces the recipe's number; the schedule has that length. For a fit on more clips than chose it.
        log_dir: folder for TensorBoard and CSV logs, and for the checkpoint of an interrupted training. The caller
            removes the checkpoint when it is no longer needed.
    """

    classifier: Classifier
    clips: ClipSet
    seed: int
    validation: ClipSet | None = None
    epochs: int | None = None
    log_dir: Path | None = None


@dataclass(frozen=True)
class FitResult:
    """A trained classifier.

    Attributes:
        classifier: at the best epoch, in evaluation mode; at the last epoch without validation clips.
        history: values of each epoch.
        epochs: number of epochs up to the one that was kept.
    """

    classifier: Classifier
    history: History
    epochs: int


def require_fabric(recipe: Recipe) -> None:
    """Refuse a recipe that trains on frames where Lightning Fabric is not installed, before any clip is read.

    Raises:
        UsageError: it is not; the message has the line that installs it.
    """
    if family_of(recipe.encoder).gives == "frames":
        lightning_fabric()


def require_frames(recipe: Recipe) -> None:
    """Refuse a recipe that several devices cannot train together.

    Raises:
        UsageError: it trains on features; the message says what pays instead.
    """
    if family_of(recipe.encoder).gives != "frames":
        raise UsageError(
            f"the recipe '{recipe.name}' trains a head on features, which takes seconds on one device; what takes time "
            "is to extract them: `marey extract --shard K/N` divides that. --devices and --nodes are for recipes that "
            "train on frames, such as c3d-lstm-gru and finetune"
        )


def fit(
    task: Task,
    training: Training,
    *,
    augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
    device: str = "cpu",
    group: ProcessGroup | None = None,
) -> FitResult:
    """Train one classifier.

    What of the network is fixed is computed once for features; frames pass through all of it in each step, with
    Lightning Fabric for the precision and the device. The result depends only on the task and the recipe: it has the
    same bits when the training was interrupted and resumed.

    Args:
        task: the classifier and its clips.
        training: the training section of the recipe.
        augmentation: changes to training clips made of frames.
        device: "cpu" or "cuda".
        group: processes that take part, each of which calls this with the same task; the clips are frames. The batches
            are those of one process, and the weights but for rounding and dropout.

    Raises:
        TrainingError: the training diverged.
        LostProcessError: another process has ended.
        UsageError: the clips are frames, and Lightning Fabric is not installed.
    """
    device, part = (device, WHOLE) if group is None else (group.device, group.part)
    if task.epochs is not None:
        training = training.model_copy(update={"epochs": task.epochs})
    classifier, clips, validation = task.classifier, task.clips, task.validation
    if isinstance(clips, FeatureSet):
        clips = clips if training.changes_frames else clips.normalized(classifier).to(device)
        assert validation is None or isinstance(validation, FeatureSet)  # noqa: S101 - of the same kind as the clips
        validation = None if validation is None else validation.center_view().normalized(classifier).to(device)
    batches = TrainingBatches(clips, training, seed=task.seed, augmentation=augmentation, part=part)
    state = TrainingState.begin(training, validated=validation is not None)
    of = [task.seed, len(clips), training.epochs, *QUANTITIES]
    on_frames = not isinstance(clips, FeatureSet)
    with (
        torch.random.fork_rng(),
        _precision(training.precision),
        silent_lightning() if on_frames else nullcontext(),
        synced_batch_norm(classifier, group),
        nullcontext() if group is None else fault_of_others(),
    ):
        _seed_everything(task.seed, "cpu")  # adapters begin from random numbers
        classifier.begin_training(training.fine_tuning)
        loss = _Loss(classifier, training, batches.class_weights).to(device).train()
        step, backward = _with_fabric(loss, training.precision, device, group) if on_frames else (loss, Tensor.backward)
        optimizer = Optimizer(training.solver, loss, weight_decay=training.weight_decay)
        path = task.log_dir / CHECKPOINT if task.log_dir is not None else None
        saved = read_checkpoint(path, of=of) if path is not None else None
        saved = saved if group is None else group.share(saved)
        if saved is not None:
            classifier.load_state_dict(saved["classifier"])
            optimizer.load_state_dict(saved["optimizer"])
            state = TrainingState.from_dict(saved["training"])
        elif on_frames:
            loss.eval()
            classifier.fit_to_clips(lambda: _in_random_order(clips, task.seed, device))
            loss.train()
        throttle = Throttle()
        factor = schedule(training, len(batches) * training.epochs)
        while not state.is_over:
            batches.epoch = state.epochs_done
            _seed_everything(batches.epoch_seed if group is None else group.seed_of(batches.epoch_seed), device)
            first, losses, shares = state.epochs_done * len(batches), [], []
            for number, batch in enumerate(batches, start=first):
                value, penalty, right = step(batch.to(device))
                backward(value if penalty is None else value + penalty)
                optimizer.step(training.learning_rate * factor(number) * state.lr_scale)
                losses.append(value.detach())
                shares.append(right)
            rate = training.learning_rate * factor(first + len(batches)) * state.lr_scale
            values = {"learning_rate": rate, **_means(torch.stack(losses), torch.cat(shares), group)}
            if validation is not None:
                values |= _validate(loss, validation, device, group)
            patience = training.patience if first + len(batches) >= training.min_steps else None
            if state.update(values, patience=patience):
                state.best_weights = deepcopy(classifier.state_dict())
            report_epoch(state.epochs_done, training.epochs, values)
            if task.log_dir is not None and path is not None and throttle.due():
                weights = {"classifier": classifier.state_dict(), "optimizer": optimizer.state_dict()}
                write_checkpoint({"of": of, **weights, "training": asdict(state)}, path)
                write_logs(state.history, task.log_dir, steps=len(batches))
    if state.best_weights is not None:
        classifier.load_state_dict(state.best_weights)
    state.require_finite_weights(classifier)
    classifier.finish_training()
    if task.log_dir is not None:
        write_logs(state.history, task.log_dir, steps=len(batches))
    return FitResult(classifier.cpu().eval(), state.history, state.epochs_kept)


_Step = Callable[[Batch], tuple[Tensor, Tensor | None, Tensor]]


class _Loss(nn.Module):
    """Forward pass and loss of a batch: a module, so that it can be distributed over devices.

    Returns the cross-entropy, the mean over heads and clips, the penalty for the weights, and for each clip whether the
    largest mean logit is that of its label, (B,). Where clips are mixed, the larger share of a clip is its label.
    """

    class_weights: Tensor
    _uniform: Tensor

    def __init__(self, classifier: Classifier, training: Training, class_weights: Tensor) -> None:
        super().__init__()
        self.classifier = classifier
        self._smoothing = training.label_smoothing
        self.register_buffer("_uniform", torch.full((), 1 / len(class_weights)), persistent=False)
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor | None, Tensor]:
        logits = self.logits(batch).float()
        # As `cross_entropy` does it, in a third of the calls for several heads.
        smooth = torch.lerp(batch.targets, self._uniform, self._smoothing) * self.class_weights
        loss = -(smooth * logits.log_softmax(-1)).sum() / logits[..., 0].numel()
        right = logits.detach().mean(0).argmax(-1) == batch.targets.argmax(-1)
        return loss, self.classifier.penalty(), right

    def logits(self, batch: Batch) -> Tensor:
        """Return the logits of each head, (heads, B, classes)."""
        features = batch.features if batch.normalized else self.classifier.forward_features(batch.features, batch.mask)
        return self.classifier.head_logits(features, batch.mask)


def _in_random_order(clips: ClipSet, seed: int, device: str) -> Iterator[dict[str, Tensor]]:
    """Yield clips in batches: the first ones are of all classes."""
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(seed)).tolist()
    for batch in clips.take(order).in_order():
        yield batch.to(device).features


def _means(losses: Tensor, right: Tensor, group: ProcessGroup | None) -> dict[str, float]:
    """Return loss and accuracy over an epoch, of the clips of all processes."""
    if group is None:
        return {"train_loss": float(losses.mean()), "train_accuracy": float(right.float().mean())}
    loss, correct, clips = group.sum(torch.tensor([float(losses.mean()) / group.size, int(right.sum()), len(right)]))
    return {"train_loss": float(loss), "train_accuracy": float(correct / clips)}


@torch.no_grad()
def _validate(loss: _Loss, clips: ClipSet, device: str, group: ProcessGroup | None) -> dict[str, float]:
    """Compute loss, accuracy and macro-F1 on validation clips, in float32."""
    loss.eval()
    if group is None:
        logits = _logits(loss, clips, device)
    else:
        own = group.part.rows(len(clips))
        each = group.gather(_logits(loss, clips.take(own), device).numpy() if own else None)
        logits = torch.empty(len(clips), clips.classes)
        for rank, found in enumerate(each):
            if found is not None:
                logits[rank :: group.size] = torch.from_numpy(found)
    loss.train()
    # Rounded: equal scores on other clips are sums in another order.
    score = round(float(macro_f1_of(*count_predictions(logits, clips.labels))), 6)
    accuracy = float((logits.argmax(-1) == clips.labels).float().mean())
    return {"val_loss": float(nll_loss(logits, clips.labels)), "val_accuracy": accuracy, "val_macro_f1": score}


def _logits(loss: _Loss, clips: ClipSet, device: str) -> Tensor:
    """Return the fused logits of clips in their order, (N, classes), on the CPU."""
    return torch.cat([fuse(loss.logits(batch.to(device))).cpu() for batch in clips.in_order()])


def _with_fabric(
    loss: _Loss, precision: str, device: str, group: ProcessGroup | None
) -> tuple[_Step, Callable[[Tensor], None]]:
    """Return the step and its backward pass under Lightning Fabric.

    Importing Lightning takes seconds, so heads on features are trained without it. Batches are not converted: in
    bfloat16 only products are computed, and neither targets nor frames are stored.
    """
    if group is not None:
        together = group.fabric.setup_module(loss)

        def part(batch: Batch) -> tuple[Tensor, Tensor | None, Tensor]:
            group.has_clips = batch.weight > 0
            value, penalty, right = together(batch)
            return value * batch.weight, penalty, right if group.has_clips else right[:0]

        return part, group.fabric.backward
    fabric = lightning_fabric().Fabric(
        accelerator="gpu" if device.startswith("cuda") else "cpu", devices=1, precision=FABRIC_PRECISION[precision]
    )

    def step(batch: Batch) -> tuple[Tensor, Tensor | None, Tensor]:
        with fabric.autocast():
            value, penalty, right = loss(batch)
        return value, penalty, right

    return step, fabric.backward


def _seed_everything(seed: int, device: str) -> None:
    """Seed dropout. `torch.manual_seed` takes as long as a step of a small head, also without a GPU."""
    torch.default_generator.manual_seed(seed)
    if device.startswith("cuda"):
        torch.cuda.manual_seed(seed)


@contextmanager
def _precision(precision: str) -> Iterator[None]:
    """Switch oneDNN off where it has no bfloat16 for the CPU: its LSTM would raise; PyTorch's own is slow."""
    if precision == "float32" or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")  # raised on every CPU
        with torch.backends.mkldnn.flags(enabled=False):
            yield
