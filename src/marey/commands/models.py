"""`marey models`: the models that recipes build, their parameters, layers and cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from marey.atomic import check_writable
from marey.commands.options import Changes, StrPath, changes_of
from marey.commands.registry import Line, Table, command

if TYPE_CHECKING:
    from marey.encoders import Architecture, Stream, WeightsOrigin
    from marey.models import Classifier, Layer
    from marey.training import Recipe


_FLOAT32: Final = 4  # bytes


@dataclass(frozen=True)
class Counts:
    """Parameters of a recipe's model, and its operations per clip.

    Attributes:
        parameters: all numbers that it keeps, as Keras counts them (an LSTM's second biases left out).
        trained: of those, what is trained.
        frozen: of those, the encoder's.
        statistics: of those, means and variances of batch normalisation.
        flops: floating-point operations for a clip, two for each multiplication and addition.
        input: its input per clip and stream, (T, C, H, W), or (T, D) where all streams make their own features.
    """

    parameters: int
    trained: int
    frozen: int
    statistics: int
    flops: int
    input: tuple[int, ...]


@dataclass(frozen=True)
class ModelRow:
    """One recipe.

    Attributes:
        name: of the recipe.
        description: what it is for.
        weights: the origin of its initial weights.
        streams: names of the streams.
        encoder: the frozen network; "pixels" where there is none.
        head: the network that is trained.
        counts: None if it cannot be built here.
        fault: the reason, and the remedy.
    """

    name: str
    description: str
    weights: WeightsOrigin
    streams: tuple[str, ...]
    encoder: str
    head: str
    counts: Counts | None
    fault: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON: the counts beside the rest, null where there are none."""
        found = asdict(self)
        counts = found.pop("counts") or dict.fromkeys(field.name for field in fields(Counts))
        return found | counts


@dataclass(frozen=True)
class ModelTable:
    """The answer of `list_models`.

    Attributes:
        rows: a recipe each.
        layers: of the one that was named, the encoder's first.
        classes: number of outputs.
        plot: the drawing of the layers, where one was asked for.
    """

    rows: tuple[ModelRow, ...]
    layers: tuple[Layer, ...]
    classes: int
    plot: Path | None = None

    def as_dict(self) -> list[dict[str, Any]]:
        """Return it for JSON."""
        found = [row.as_dict() for row in self.rows]
        if self.layers:
            found[0]["layers"] = [asdict(layer) for layer in self.layers]
        if self.plot is not None:
            found[0]["plot"] = str(self.plot)
        return found


def _show(answer: ModelTable) -> Iterator[Any]:
    about = Table(("recipe", "weights", "description"), whole=("recipe",), widths={"weights": 18})
    costs = Table(("recipe", "trained", "frozen", "GFLOPs a clip", "input"), whole=("recipe", "trained", "frozen"))
    costs.right = costs.columns[1:4]
    for row in answer.rows:
        about.add(row.name, str(row.weights), row.description)
        costs.add(row.name, *_costs(row))
    if answer.layers:
        layers = Table(("layer", "kind", "output", "parameters"), right=("parameters",))
        for layer in answer.layers:
            layers.add(layer.name, layer.kind, " x ".join(map(str, layer.output)), f"{layer.parameters:,}")
        yield layers
    yield about
    yield costs
    for row in answer.rows:
        if row.counts is None:
            yield f"{row.name} is not counted: {row.fault}"
        elif answer.layers:
            yield f"encoder {row.encoder}, head {row.head}"
            yield from _totals(row.counts)
    yield "weights: with marey, downloaded once (sizes are approximate), or none: trained from scratch"
    size = "; 1 MB is 2^20 bytes, as there" if answer.layers else ""
    yield f"with {answer.classes} classes; an LSTM's second biases are not counted, as in Keras{size}"
    if answer.plot is not None:
        yield f"plot   {answer.plot}"


def _totals(counts: Counts) -> Iterator[str]:
    """Yield the totals below a table of layers, with their size as float32."""
    fixed = f"{counts.frozen:,} frozen and {counts.statistics:,} statistics of batch normalisation"
    for name, number, note in (
        ("parameters", counts.parameters, ""),
        ("trainable", counts.trained, ""),
        ("non-trainable", counts.frozen + counts.statistics, f": {fixed}"),
    ):
        yield f"{name:<14}{number:>14,}  ({number * _FLOAT32 / 2**20:,.2f} MB){note}"


def _costs(row: ModelRow) -> tuple[str | Line, ...]:
    """Return the cells: parameters trained and frozen, operations, and input."""
    counts = row.counts
    if counts is None:
        extra = row.weights.extra
        return "", "", "", Line("not counted" if extra is None else f"needs the extra {extra}", "fault")
    streams = f"{len(row.streams)} x " if len(row.streams) > 1 else ""
    trained, frozen = (f"{number / 1e6:.2f} M" for number in (counts.trained, counts.frozen))
    return trained, frozen, f"{counts.flops / 1e9:.2f}", streams + "x".join(map(str, counts.input))


@command(
    "models",
    examples=(
        "models",
        "models lrcn --classes 101",
        "models auto --set sampling.count=32",
        "models cnn-lstm --plot layers.png",
    ),
    show=_show,
)
def list_models(
    name: StrPath | None = None, *, classes: int = 6, set: Changes = None, plot: StrPath | None = None
) -> ModelTable:
    """List the models of all recipes: weights, parameters, operations per clip and input; or the layers of one.

    Nothing is downloaded, and no weights are needed. A model that cannot be built here, because an extra is missing,
    is listed without counts.

    Args:
        name: a recipe, or a YAML file, whose layers are listed; by default all built-in recipes.
        classes: number of classes to count with.
        plot: draw the layers of the recipe that is named, from the first to the last, as .png.

    Raises:
        UsageError: the recipe that was asked for cannot be built, or there is no drawing of all.
    """
    from marey.errors import UsageError
    from marey.training import load_recipe, recipe_names

    if classes < 2:
        raise UsageError(f"--classes {classes}: a model tells at least two apart")
    if plot is not None and (name is None or Path(plot).suffix.lower() != ".png"):
        raise UsageError(f"--plot {plot} draws the layers of one recipe as .png: marey models NAME --plot layers.png")
    if name is None:
        recipes = [load_recipe(each, changes=changes_of(set)) for each in recipe_names()]
        return ModelTable(tuple(_row(each, classes) for each in recipes), (), classes)
    recipe = load_recipe(name, changes=changes_of(set))
    drawn = None if plot is None else Path(plot)
    if drawn is not None:
        check_writable(drawn)
    built = _build(recipe, classes)
    layers = _layers(*built)
    if drawn is not None:
        from marey.reports import plot_layers, save_png

        save_png(plot_layers(layers, title=f"{recipe.name}: layer, output, parameters"), drawn)
    return ModelTable((_about(recipe, _count(*built), None),), layers, classes, drawn)


def count_recipe(recipe: Recipe, *, classes: int) -> Counts:
    """Return the counts of a recipe's model for so many classes.

    Raises:
        UsageError: it cannot be built here.
    """
    return _count(*_build(recipe, classes))


def _row(recipe: Recipe, classes: int) -> ModelRow:
    from marey.errors import MareyError

    try:
        return _about(recipe, count_recipe(recipe, classes=classes), None)
    except MareyError as error:  # one that cannot be built must not take the others from the list
        return _about(recipe, None, str(error))


def _about(recipe: Recipe, counts: Counts | None, fault: str | None) -> ModelRow:
    from marey.encoders import weights_origin

    backbone = None if recipe.head.backbone is None else recipe.head.backbone.name
    weights = weights_origin(recipe.encoder, head=recipe.head.name, weights=recipe.head.weights, backbone=backbone)
    names = (tuple(recipe.streams), backbone or recipe.encoder.name, recipe.head.name)
    return ModelRow(recipe.name, recipe.description, weights, *names, counts, fault)


def _build(recipe: Recipe, classes: int) -> tuple[Recipe, Architecture, Classifier]:
    import torch

    from marey.encoders import architecture
    from marey.models import Classifier, is_imprintable

    encoder = architecture(recipe.encoder, frames=recipe.sampling.count)
    # A network on frames is large, and need not be run; a head packs sequences, which needs values.
    with torch.device("meta" if encoder.network is None else "cpu"):
        shapes = {name: _shape(stream, encoder) for name, stream in recipe.streams.items()}
        classifier = Classifier(recipe.head, shapes, classes)
        if recipe.seed_count > 1 and not is_imprintable(classifier):  # linear heads are averaged into one
            classifier = Classifier(recipe.head, shapes, classes, members=recipe.seed_count)
    return recipe, encoder, classifier.eval().requires_grad_(False)


def _example(recipe: Recipe, encoder: Architecture) -> dict[str, Any]:
    import torch

    frames = encoder.network is None
    length = () if frames else (encoder.length,)
    return {
        name: torch.zeros(1, *length, *_shape(stream, encoder), device="meta" if frames else "cpu")
        for name, stream in recipe.streams.items()
    }


def _shape(stream: Stream, encoder: Architecture) -> tuple[int, ...]:
    """Return the shape of the input of a stream's head."""
    from marey.encoders import FeatureStream

    return (stream.dim,) if isinstance(stream, FeatureStream) else encoder.shape


def _count(recipe: Recipe, encoder: Architecture, classifier: Classifier) -> Counts:
    import torch

    from marey.encoders import feature_streams
    from marey.evaluation import count_flops
    from marey.models import count_parameters

    features = _example(recipe, encoder)
    trained = count_parameters(classifier)
    seen = len(recipe.streams) - len(feature_streams(recipe.streams))
    weights, statistics, frozen, flops = trained.weights, trained.statistics, 0, 0
    kept = trained.total
    if recipe.head.backbone is not None:
        found = recipe.count_trained(classifier.classes)
        weights, frozen = found.trained, found.frozen
    with torch.no_grad():
        if encoder.network is not None:
            counted = count_parameters(encoder.network)
            frozen, statistics = counted.weights, statistics + counted.statistics
            kept += counted.total
            encoder.network.requires_grad_(False)  # the counter follows a query of attention pooling to its gradient
            runs = seen * (1 if encoder.whole else recipe.sampling.count)
            flops = runs * count_flops(lambda: encoder.run(encoder.example)) if runs else 0
        flops += count_flops(lambda: classifier(features))
    image = (encoder.shape[1] if encoder.network is None else 3, *encoder.size)
    given = image if seen else (max(stream.dim for stream in feature_streams(recipe.streams).values()),)
    return Counts(
        kept,
        weights,
        frozen,
        statistics,
        flops,
        (recipe.sampling.count, *given),
    )


def _layers(recipe: Recipe, encoder: Architecture, classifier: Classifier) -> tuple[Layer, ...]:
    import torch

    from marey.models import list_layers

    features = _example(recipe, encoder)
    found: tuple[Layer, ...] = ()
    with torch.no_grad():
        if encoder.network is not None:
            found = list_layers(encoder.network, lambda: encoder.run(encoder.example))
        return found + list_layers(classifier, lambda: classifier(features))
