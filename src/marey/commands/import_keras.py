"""`marey import-keras`: a model that was trained in Keras becomes a model of marey."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from marey.atomic import check_writable
from marey.commands.options import Changes, StrPath, changes_of
from marey.commands.registry import Help, Line, command
from marey.errors import UsageError

if TYPE_CHECKING:
    from marey.models import ActionModel
    from marey.models.keras import ImportedNetwork
    from marey.training import Recipe

Pixels = Literal["auto", "0..255", "0..1", "-1..1", "caffe", "torch"]


@dataclass(frozen=True)
class ImportedModel:
    """The answer of `import-keras`.

    Attributes:
        model: the model folder that was written.
        labels: names of the classes, in the order of the outputs.
        clip: (T, C, H, W) of the frames that it reads.
        parameters: numbers that it keeps, as Keras counts them.
        pixels: how the frames are scaled for it.
        notes: assumptions, a sentence each.
    """

    model: Path
    labels: tuple[str, ...]
    clip: tuple[int, ...]
    parameters: int
    pixels: str
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "model": str(self.model),
            "labels": list(self.labels),
            "clip": list(self.clip),
            "parameters": self.parameters,
            "pixels": self.pixels,
            "notes": list(self.notes),
        }


def _show(answer: ImportedModel) -> Iterator[Any]:
    frames, channels, height, width = answer.clip
    yield f"{answer.parameters:,} parameters, {len(answer.labels)} classes: {', '.join(answer.labels)}"
    yield f"reads {frames} frames of {height} x {width} pixels, {'grey' if channels == 1 else 'RGB'}, {answer.pixels}"
    for note in answer.notes:
        yield Line(note, "note")
    yield f"model   {answer.model}"
    yield f"next    marey predict {shlex.quote(str(answer.model))} VIDEO"


@command(
    "import-keras",
    examples=(
        "import-keras model.keras --recipe vgg16-bilstm --labels walk,run --out models/mine",
        "import-keras weights.h5 --recipe cnn-lstm --labels classes.txt --out models/kth",
        "import-keras head.h5 --recipe vgg16-lstm --labels walk,run --backbone vgg16_notop.h5 --out models/mine",
    ),
    show=_show,
    panel="Data and features",
)
def import_keras(
    file: StrPath,
    *,
    recipe: str,
    labels: Annotated[str | Sequence[str], Help("", cli=str)],
    out: StrPath,
    pixels: Pixels = "auto",
    grey: bool = False,
    backbone: StrPath | None = None,
    architecture: StrPath | None = None,
    set: Changes = None,
) -> ImportedModel:
    """Make a model folder of a model that was trained in Keras; its answers are those of Keras.

    Reads a whole model (.keras, .h5) or its weights, without TensorFlow; nothing in the file is executed, and layers
    that are code, such as Lambda, are refused. Frames are sampled as the recipe says; their number and size come from
    the file.

    Args:
        file: the model, as model.save or model.save_weights wrote it.
        recipe: the recipe whose network it is: vgg16-bilstm, vgg16-lstm, cnn-lstm, lrcn-small, convlstm, c3d-lstm-gru
            or resnet50-lstm.
        labels: names of the classes in the order of the outputs, separated by commas; or a text file, a line a class.
        out: the model folder to write.
        pixels: what the network was trained on: 0..255, 0..1 (divided by 255), -1..1, caffe (preprocess_input of VGG16
            and ResNet50) or torch; by default what is usual for the recipe, and 0..255 before a Rescaling layer.
        grey: turn frames grey first; a network that takes three channels gets the same one three times.
        backbone: a Keras file of VGG16 or ResNet50, where the model reads their features.
        architecture: the model's to_json() in a file, where FILE has weights only.

    Raises:
        ModelFormatError: a file is damaged, or its layers are not those of the recipe's network.
        UsageError: labels that do not fit, or h5py is not installed.
    """
    from marey.models import check_output_dir, count_parameters, save_model
    from marey.models.keras import read_network
    from marey.training import load_recipe

    out, names = Path(out), _labels(labels)
    check_output_dir(out)
    check_writable(out / "config.json")
    chosen = load_recipe(recipe, changes=changes_of(set))
    height, width = _size(chosen)
    colours = 1 if chosen.encoder.name == "grey-pixels" else 3
    network = read_network(
        file,
        chosen.name,
        clip=(chosen.sampling.count, height, width, colours),
        architecture=architecture,
        backbone=backbone,
    )
    if len(names) != network.outputs:
        raise UsageError(f"{file} tells {network.outputs} classes apart, and --labels names {len(names)}: {names}")
    made, scaled, notes = _model(chosen, network, names, pixels, grey=grey, source=Path(file))
    save_model(made, out)
    counted = count_parameters(made.classifier)
    return ImportedModel(
        out, names, made.config.contract.shape, counted.weights + counted.statistics, scaled, (*network.notes, *notes)
    )


def _model(
    recipe: Recipe,
    network: ImportedNetwork,
    labels: tuple[str, ...],
    pixels: Pixels,
    *,
    grey: bool,
    source: Path,
) -> tuple[ActionModel, str, tuple[str, ...]]:
    """Return the model, how frames are scaled for it, and what was assumed."""
    from marey.data.hashing import content_hash
    from marey.encoders import Contract, EncoderSpec, load_encoder
    from marey.models import ActionModel, HeadSpec, ModelConfig, new_classifier
    from marey.models.keras import original_of

    frames, height, width, colours = network.clip
    notes: tuple[str, ...] = ()
    scaled: str = pixels
    if pixels == "auto":
        rescales = '"kind": "Rescaling"' in network.layers
        scaled = "0..255" if rescales else original_of(recipe.name).pixels
        why = "it has a Rescaling layer" if rescales else f"usual for {recipe.name}"
        notes = (f"pixels are given as {scaled}, {why}: if it was trained otherwise, name it by --pixels",)
    name = "grey-pixels" if grey or colours == 1 else "pixels"
    sampling = recipe.sampling.model_copy(update={"count": frames})
    encoder = load_encoder(EncoderSpec(name=name, size=(height, width)), frames=frames)
    contract = Contract.from_recipe(recipe.model_copy(update={"sampling": sampling}), encoder, multi_view=True)
    head = HeadSpec(
        name="keras",
        options={
            "layers": network.layers,
            "pixels": scaled,
            "repeat_grey": name == "grey-pixels" and colours == 3,
            "binary": network.binary,
        },
    )
    classifier = new_classifier(contract, head, len(labels))
    state = {f"heads.0.{key}": values for key, values in network.state.items()}
    classifier.load_state_dict(state, strict=False)
    made_with = {
        "imported": {"file": source.name, "content": content_hash(source), "keras": network.version},
        "recipe": recipe.model_dump(mode="json"),
    }
    config = ModelConfig(contract=contract, head=head, labels=labels, made_with=made_with)
    return ActionModel(config, classifier.eval()), scaled, notes


def _size(recipe: Recipe) -> tuple[int, int]:
    """Return height and width of a recipe's frames."""
    from marey.encoders import architecture

    return architecture(recipe.encoder, frames=recipe.sampling.count).size


def _labels(labels: str | Sequence[str]) -> tuple[str, ...]:
    """Return names of classes: a sequence, separated by commas, or the lines of a file."""
    from marey.data.text import check_labels, clean_label

    given = labels
    if isinstance(labels, str) and "," not in labels:
        try:
            given = Path(labels).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"--labels {labels!r} is neither names separated by commas nor a text file ({error.__class__.__name__})"
            ) from error
    parts = given.split(",") if isinstance(given, str) else list(given)
    names = tuple(clean_label(str(part)) for part in parts if str(part).strip())
    if len(set(names)) < len(names):
        raise UsageError(f"--labels names a class twice: {', '.join(names)}")
    check_labels(dict.fromkeys(names, "--labels"))
    return names
