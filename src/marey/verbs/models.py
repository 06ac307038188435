"""`marey models`: the systems that recipes build, what they are made of and what they cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marey.encoders import Architecture
    from marey.models import Classifier, Layer
    from marey.training import Recipe


@dataclass(frozen=True)
class ModelRow:
    """One recipe, counted.

    Attributes:
        name: of the recipe.
        description: what it is for.
        parameters: all numbers that it keeps, as Keras counts them (an LSTM's second biases left out).
        trained: of those, what is trained.
        frozen: of those, the encoder's.
        statistics: of those, means and variances of batch normalisation.
        flops: floating-point operations for a clip, two for each multiplication and addition.
        input: what it sees of a clip, (T, C, H, W) a stream.
        streams: names of the streams.
        encoder: the frozen network; "pixels" where there is none.
        head: what is trained.
    """

    name: str
    description: str
    parameters: int
    trained: int
    frozen: int
    statistics: int
    flops: int
    input: tuple[int, int, int, int]
    streams: tuple[str, ...]
    encoder: str
    head: str


@dataclass(frozen=True)
class ModelTable:
    """What `list_models` answers.

    Attributes:
        rows: a recipe each.
        layers: of the one that was asked for, the encoder's first.
        classes: outputs that were counted with.
    """

    rows: tuple[ModelRow, ...]
    layers: tuple[Layer, ...]
    classes: int

    def as_dict(self) -> list[dict[str, Any]]:
        """For JSON."""
        found = [asdict(row) for row in self.rows]
        if self.layers:
            found[0]["layers"] = [asdict(layer) for layer in self.layers]
        return found


def list_models(name: str | None = None, *, classes: int = 6, set: list[str] | None = None) -> ModelTable:
    """List the recipes with their parameters, operations a clip and input; or the layers of one.

    Nothing is fetched, and no weights are needed.

    Args:
        name: a recipe, or a YAML file, whose layers are listed; all that come with marey by default.
        classes: outputs to count with.
        set: key=value, changes a key of the recipe, as in sampling.count=32; may be repeated.
    """
    from marey.errors import UsageError
    from marey.training import load_recipe, recipe_names

    if classes < 2:
        raise UsageError(f"--classes {classes}: a model tells at least two apart")
    names = recipe_names() if name is None else (name,)
    built = [_build(load_recipe(each, changes=set or ()), classes) for each in names]
    rows = tuple(_row(*one) for one in built)
    return ModelTable(rows, () if name is None else _layers(*built[0]), classes)


def _build(recipe: Recipe, classes: int) -> tuple[Recipe, Architecture, Classifier]:
    import torch

    from marey.encoders import architecture
    from marey.models import Classifier

    encoder = architecture(recipe.encoder, frames=recipe.sampling.count)
    # A network on pictures is large, and need not be run; a head packs sequences, which takes values.
    with torch.device("meta" if encoder.network is None else "cpu"):
        classifier = Classifier(recipe.head, dict.fromkeys(recipe.streams, encoder.shape), classes)
    return recipe, encoder, classifier.eval().requires_grad_(False)


def _example(recipe: Recipe, encoder: Architecture) -> dict[str, Any]:
    import torch

    pictures = encoder.network is None
    shape = encoder.shape if pictures else (encoder.length, *encoder.shape)
    return {stream: torch.zeros(1, *shape, device="meta" if pictures else "cpu") for stream in recipe.streams}


def _row(recipe: Recipe, encoder: Architecture, classifier: Classifier) -> ModelRow:
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
            runs = len(recipe.streams) * (1 if encoder.whole else recipe.sampling.count)
            flops = runs * count_flops(lambda: encoder.run(encoder.example))
        flops += count_flops(lambda: classifier(features))
    colours = encoder.shape[1] if encoder.network is None else 3
    return ModelRow(
        recipe.name,
        recipe.description,
        trained.weights + frozen + statistics,
        trained.weights,
        frozen,
        statistics,
        flops,
        (recipe.sampling.count, colours, *encoder.size),
        tuple(recipe.streams),
        recipe.encoder.name,
        recipe.head.name,
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
