"""`marey extract`: fill the cache of features, so that training finds them there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from marey.progress import SILENT, Reporter


@dataclass(frozen=True)
class Extraction:
    """What `extract` answers.

    Attributes:
        clips: how many there are.
        failed: path to reason and detail of those that cannot be used.
        dim: numbers in a feature vector.
        pictures: how many were encoded now.
        cache: the folder where features lie.
    """

    clips: int
    failed: dict[str, str]
    dim: int
    pictures: int
    cache: Path

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "cache": str(self.cache)}


def extract(
    data: str,
    *,
    recipe: str = "default",
    set: list[str] | None = None,
    frame_order: Literal["given", "reversed", "shuffled"] = "given",
    device: str = "auto",
    engine: str | None = None,
    reporter: Reporter = SILENT,
) -> Extraction:
    """Decode and encode every clip of a data set once; what is in the cache already is left alone.

    Killed, it loses the clip in hand; started again, it goes on from there.

    Args:
        data: a folder of class folders, a manifest (CSV or Parquet), or the name of a data set.
        recipe: the name of a recipe that comes with marey, or a YAML file.
        set: key=value, changes a key of the recipe, as in sampling.count=8; may be repeated.
        frame_order: the order in which the encoder's streams see the frames.
        device: where to run: auto, cpu or cuda.
        engine: what runs the encoder: auto (the fastest here), pytorch, openvino, onnxruntime or cuda; by default what
            MAREY_ENGINE says, else auto.
    """
    from marey.commands.steps.prepare import pick_device, watched
    from marey.data import load_data
    from marey.encoders import Contract, FeatureCache, iterate_views, load_encoder
    from marey.errors import VideoError
    from marey.training import load_recipe
    from marey.video import require_decoder

    chosen = load_recipe(recipe, changes=set or ())
    require_decoder(chosen.sampling.decoder)
    manifest = load_data(data)
    encoder = load_encoder(chosen.encoder, frames=chosen.sampling.count, device=pick_device(device), engine=engine)
    contract = Contract.from_recipe(chosen, encoder)
    readings = [(clip, chosen.views.readings) for clip in manifest.clips]
    cache = FeatureCache()
    with watched(reporter, "reading clips", len(readings)) as watch:
        results = iterate_views(readings, encoder, contract, cache=cache, order=frame_order, on_progress=watch)
        failed = {
            clip.id: f"{result.reason}: {result.detail}"
            for clip, result in zip(manifest.clips, results, strict=True)
            if isinstance(result, VideoError)
        }
    return Extraction(len(readings), failed, encoder.dim, encoder.pictures, cache.root)
