"""`marey models`: the models that recipes build, their parameters, layers and cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from marey.commands.options import Changes, StrPath, changes_of
from marey.commands.registry import Line, Table, command

if TYPE_CHECKING:
    from marey.encoders import Architecture, WeightsOrigin
    from marey.models import Classifier, Layer
    from marey.training import Recipe


@dataclass(frozen=True)
class Counts:
    """Parameters of a recipe's model, and its operations per clip.

    Attributes:
        parameters: all numbers that it keeps, as Keras counts them (an LSTM's second biases left out).
        trained: of those, what is trained.
        frozen: of those, the encoder's.
        statistics: of those, means and variances of batch normalisation.
        flops: floating-point operations for a clip, two for each multiplication and addition.
        input: its input per clip and stream, (T, C, H, W).
    """

    parameters: int
    trained: int
    frozen: int
    statistics: int
    flops: int
    input: tuple[int, int, int, int]


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
    """

    rows: tuple[ModelRow, ...]
    layers: tuple[Layer, ...]
    classes: int

    def as_dict(self) -> list[dict[str, Any]]:
        """Return it for JSON."""
        found = [row.as_dict() for row in self.rows]
        if self.layers:
            found[0]["layers"] = [asdict(layer) for layer in self.layers]
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
            every, statistics = row.counts.parameters, row.counts.statistics
            yield f"encoder {row.encoder}, head {row.head}"
            yield f"{every:,} parameters, {statistics:,} of them statistics of batch normalisation"
    yield "weights: with marey, downloaded once (sizes are approximate), or none: trained from scratch"
    yield f"with {answer.classes} classes; an LSTM's second biases are not counted, as in Keras"


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
    "models", examples=("models", "models lrcn --classes 101", "models default --set sampling.count=32"), show=_show
)
def list_models(name: StrPath | None = None, *, classes: int = 6, set: Changes = None) -> ModelTable:
    """List the models of all recipes: weights, parameters, operations per clip and input; or the layers of one.

    Nothing is downloaded, and no weights are needed. A model that cannot be built here, because an extra is missing,
    is listed without counts.

    Args:
        name: a recipe, or a YAML file, whose layers are listed; by default all built-in recipes.
        classes: number of classes to count with.

    Raises:
        UsageError: the recipe that was asked for cannot be built.
    """
    from marey.errors import UsageError
    from marey.training import load_recipe, recipe_names

    if classes < 2:
        raise UsageError(f"--classes {classes}: a model tells at least two apart")
    if name is None:
        recipes = [load_recipe(each, changes=changes_of(set)) for each in recipe_names()]
        return ModelTable(tuple(_row(each, classes) for each in recipes), (), classes)
    recipe = load_recipe(name, changes=changes_of(set))
    built = _build(recipe, classes)
    return ModelTable((_about(recipe, _count(*built), None),), _layers(*built), classes)


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
    from marey.models import head_options

    backbone = {**head_options(recipe.head.name), **recipe.head.options}.get("backbone")
    weights = weights_origin(
        recipe.encoder, head=recipe.head.name, weights=recipe.head.weights, backbone=backbone and str(backbone)
    )
    names = (tuple(recipe.streams), recipe.encoder.name, recipe.head.name)
    return ModelRow(recipe.name, recipe.description, weights, *names, counts, fault)


def _build(recipe: Recipe, classes: int) -> tuple[Recipe, Architecture, Classifier]:
    import torch

    from marey.encoders import architecture
    from marey.models import Classifier

    encoder = architecture(recipe.encoder, frames=recipe.sampling.count)
    # A network on frames is large, and need not be run; a head packs sequences, which needs values.
    with torch.device("meta" if encoder.network is None else "cpu"):
        classifier = Classifier(recipe.head, dict.fromkeys(recipe.streams, encoder.shape), classes)
    return recipe, encoder, classifier.eval().requires_grad_(False)


def _example(recipe: Recipe, encoder: Architecture) -> dict[str, Any]:
    import torch

    frames = encoder.network is None
    shape = encoder.shape if frames else (encoder.length, *encoder.shape)
    return {stream: torch.zeros(1, *shape, device="meta" if frames else "cpu") for stream in recipe.streams}


def _count(recipe: Recipe, encoder: Architecture, classifier: Classifier) -> Counts:
    import torch

    from marey.evaluation import count_flops
    from marey.models import count_parameters

    features = _example(recipe, encoder)
    trained = count_parameters(classifier)
    statistics, frozen, flops = trained.statistics, 0, 0
    with torch.no_grad():
        if encoder.network is not None:
            counted = count_parameters(encoder.network)
            frozen, statistics = counted.weights, statistics + counted.statistics
            encoder.network.requires_grad_(False)  # the counter follows a query of attention pooling to its gradient
            runs = len(recipe.streams) * (1 if encoder.whole else recipe.sampling.count)
            flops = runs * count_flops(lambda: encoder.run(encoder.example))
        flops += count_flops(lambda: classifier(features))
    colours = encoder.shape[1] if encoder.network is None else 3
    return Counts(
        trained.weights + frozen + statistics,
        trained.weights,
        frozen,
        statistics,
        flops,
        (recipe.sampling.count, colours, *encoder.size),
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
