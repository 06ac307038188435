"""The training loop: one classifier, from features or from frames."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn.functional import nll_loss
from torch.optim.adamw import adamw

from marey.encoders import family_of
from marey.errors import UsageError
from marey.evaluation import macro_f1_of
from marey.extras import install_command
from marey.models import Classifier, fuse
from marey.training.augmentation import Augmentation
from marey.training.batches import Batch, ClipSet, FeatureSet, TrainingBatches, count_predictions
from marey.training.checkpoint import CHECKPOINT, History, Throttle, read_checkpoint, write_checkpoint, write_logs
from marey.training.recipe import Recipe, Training
from marey.training.schedule import TrainingState, schedule


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
        _fabric()


def fit(
    task: Task,
    training: Training,
    *,
    augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
    device: str = "cpu",
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

    Raises:
        TrainingError: the training diverged.
        UsageError: the clips are frames, and Lightning Fabric is not installed.
    """
    if task.epochs is not None:
        training = training.model_copy(update={"epochs": task.epochs})
    classifier, clips, validation = task.classifier, task.clips, task.validation
    if isinstance(clips, FeatureSet):
        clips = clips if training.changes_frames else clips.normalized(classifier).to(device)
        assert validation is None or isinstance(validation, FeatureSet)  # noqa: S101 - of the same kind as the clips
        validation = None if validation is None else validation.center_view().normalized(classifier).to(device)
    batches = TrainingBatches(clips, training, seed=task.seed, augmentation=augmentation)
    state = TrainingState.begin(training, validated=validation is not None)
    of = [task.seed, len(clips), training.epochs]
    on_frames = not isinstance(clips, FeatureSet)
    with torch.random.fork_rng(), _precision(training.precision), _silent_lightning() if on_frames else nullcontext():
        loss = _Loss(classifier, training, batches.class_weights).to(device).train()
        step, backward = _with_fabric(loss, training.precision, device) if on_frames else (loss, Tensor.backward)
        optimizer = _AdamW(loss, weight_decay=training.weight_decay)
        path = task.log_dir / CHECKPOINT if task.log_dir is not None else None
        saved = read_checkpoint(path, of=of) if path is not None else None
        if saved is not None:
            classifier.load_state_dict(saved["classifier"])
            optimizer.load_state_dict(saved["optimizer"])
            state = TrainingState.from_dict(saved["training"])
        throttle = Throttle()
        factor = schedule(training, len(batches) * training.epochs)
        while not state.is_over:
            batches.epoch = state.epochs_done
            _seed_everything(batches.epoch_seed, device)
            first, losses = state.epochs_done * len(batches), []
            for number, batch in enumerate(batches, start=first):
                value, penalty = step(batch.to(device))
                backward(value if penalty is None else value + penalty)
                optimizer.step(training.learning_rate * factor(number) * state.lr_scale)
                losses.append(value.detach())
            rate = training.learning_rate * factor(first + len(batches)) * state.lr_scale
            values = {"train_loss": float(torch.stack(losses).mean()), "learning_rate": rate}
            if validation is not None:
                values |= _validate(loss, validation, device)
            if state.update(values, patience=training.patience):
                state.best_weights = deepcopy(classifier.state_dict())
            if task.log_dir is not None and path is not None and throttle.due():
                weights = {"classifier": classifier.state_dict(), "optimizer": optimizer.state_dict()}
                write_checkpoint({"of": of, **weights, "training": asdict(state)}, path)
                write_logs(state.history, task.log_dir, steps=len(batches))
    if state.best_weights is not None:
        classifier.load_state_dict(state.best_weights)
    state.require_finite_weights(classifier)
    if task.log_dir is not None:
        write_logs(state.history, task.log_dir, steps=len(batches))
    return FitResult(classifier.cpu().eval(), state.history, state.epochs_kept)


_Step = Callable[[Batch], tuple[Tensor, Tensor | None]]


class _Loss(nn.Module):
    """Forward pass and loss of a batch: a module, so that it can be distributed over devices.

    Returns the cross-entropy, the mean over heads and clips, and the penalty for the weights.
    """

    class_weights: Tensor
    _uniform: Tensor

    def __init__(self, classifier: Classifier, training: Training, class_weights: Tensor) -> None:
        super().__init__()
        self.classifier = classifier
        self._smoothing = training.label_smoothing
        self.register_buffer("_uniform", torch.full((), 1 / len(class_weights)), persistent=False)
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        logits = self.logits(batch).float()
        # As `cross_entropy` does it, in a third of the calls for several heads.
        smooth = torch.lerp(batch.targets, self._uniform, self._smoothing) * self.class_weights
        loss = -(smooth * logits.log_softmax(-1)).sum() / logits[..., 0].numel()
        return loss, self.classifier.penalty()

    def logits(self, batch: Batch) -> Tensor:
        """Return the logits of each head, (heads, B, classes)."""
        features = batch.features if batch.normalized else self.classifier.forward_features(batch.features, batch.mask)
        return self.classifier.head_logits(features, batch.mask)


@torch.no_grad()
def _validate(loss: _Loss, clips: ClipSet, device: str) -> dict[str, float]:
    """Compute loss and macro-F1 on validation clips, in float32."""
    loss.eval()
    logits = torch.cat([fuse(loss.logits(batch.to(device))).cpu() for batch in clips.in_order()])
    loss.train()
    # Rounded: equal scores on other clips are sums in another order.
    score = round(float(macro_f1_of(*count_predictions(logits, clips.labels))), 6)
    return {"val_loss": float(nll_loss(logits, clips.labels)), "val_macro_f1": score}


class _AdamW:
    """AdamW (Loshchilov and Hutter 2019) on PyTorch's fused kernel.

    `torch.optim.AdamW` imports the compiler of PyTorch, which takes as long as importing PyTorch: longer than training
    a dozen heads.
    """

    def __init__(self, module: nn.Module, *, weight_decay: float) -> None:
        self._parameters = [each for each in module.parameters() if each.requires_grad]
        self._weight_decay = weight_decay
        self._means, self._squares = ([torch.zeros_like(each) for each in self._parameters] for _ in range(2))
        self._steps = [torch.zeros((), device=each.device) for each in self._parameters]

    def step(self, learning_rate: float) -> None:
        """Update the parameters by their gradients, and clear these."""
        columns = zip(self._parameters, self._means, self._squares, self._steps, strict=True)
        used = [(each, each.grad, *rest) for each, *rest in columns if each.grad is not None]
        parameters, gradients, means, squares, steps = (list(column) for column in zip(*used, strict=True))
        with torch.no_grad():
            adamw(
                parameters,
                gradients,
                means,
                squares,
                [],
                steps,
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=learning_rate,
                weight_decay=self._weight_decay,
                eps=1e-8,
                maximize=False,
            )
        for each in parameters:
            each.grad = None

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Return what a resumed training needs."""
        return {"means": self._means, "squares": self._squares, "steps": self._steps}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Take over the state of a checkpoint."""
        for name, own in self.state_dict().items():
            for values, kept in zip(own, state[name], strict=True):
                values.copy_(kept)


def _fabric() -> ModuleType:
    try:
        import lightning.fabric
    except ImportError as error:
        raise UsageError(
            f"networks on frames are trained on Lightning Fabric, which is not installed: {install_command('networks')}"
        ) from error
    return lightning.fabric


def _with_fabric(loss: _Loss, precision: str, device: str) -> tuple[_Step, Callable[[Tensor], None]]:
    """Return the step and its backward pass under Lightning Fabric.

    Importing Lightning takes seconds, so heads on features are trained without it. Batches are not converted: in
    bfloat16 only products are computed, and neither targets nor frames are stored. For several devices, launch Fabric
    and set the module and the batches up here.
    """
    fabric = _fabric().Fabric(
        accelerator="gpu" if device.startswith("cuda") else "cpu",
        devices=1,
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
    )

    def step(batch: Batch) -> tuple[Tensor, Tensor | None]:
        with fabric.autocast():
            value, penalty = loss(batch)
        return value, penalty

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


@contextmanager
def _silent_lightning() -> Iterator[None]:
    """Hide Lightning's advice on devices and precision."""
    _fabric()  # which sets the levels
    loggers = [logging.getLogger(name) for name in ("lightning.fabric", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
