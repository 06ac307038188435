"""Data sets for a training of your own in PyTorch: the frames of clips, and features, one item a clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from marey.data import FeatureTable, Manifest, Part, load_data, read_feature_file, read_feature_folder
from marey.encoders import Contract, EncoderSpec, View, architecture, family_of, load_encoder, luma, read_clip
from marey.errors import DatasetError, UsageError
from marey.training.recipe import Recipe
from marey.training.recipe_file import load_recipe
from marey.video import Limits

Transform = Callable[[Tensor], Any]
"""A function of the frames, or the features, of a stream, whose result takes their place."""

_UNLABELLED: Final = -1
_VIEWS: Final = 2**31
_DEFAULT_LIMITS: Final = Limits()


class ClipDataset(Dataset[tuple[Any, int]]):
    """Clips of a data set as frames, read as a recipe says; for `torch.utils.data.DataLoader`, with workers too.

    An item is the frames of a clip, uint8 (T, 3, H, W), and the number of its class, -1 where there are no labels. A
    recipe on grey frames gives (T, 1, H, W). They are decoded when they are asked for. Of a recipe with several
    streams an item has a dictionary of them.

    Args:
        data: a manifest, or what `load_data` takes: a folder of class folders, a manifest file, or a name.
        recipe: its sampling, streams, size and fit are taken; a name, a file or a recipe.
        changes: of keys of the recipe, as in ("sampling.count=20", "encoder.size=64").
        split: take the clips of this part only.
        random: take random timestamps of the clip's segments at each call, for training. They follow
            `torch.manual_seed`, and differ from worker to worker.
        transform: called with the frames of each stream; its result takes their place.
        limits: of decoding, each clip.

    Attributes:
        clips: the clips, in the order of the items.
        classes: names of the classes, in the order of their numbers; those of all parts.
        contract: how a clip is read.
        shape: (T, C, H, W) of the frames of a stream.

    Raises:
        DatasetError: the data cannot be loaded, or no clip is in that part.
        UsageError: the recipe cannot be read.
    """

    def __init__(
        self,
        data: Manifest | str | Path,
        *,
        recipe: Recipe | str | Path,
        changes: Sequence[str] = (),
        split: Part | None = None,
        random: bool = False,
        transform: Transform | None = None,
        limits: Limits = _DEFAULT_LIMITS,
    ) -> None:
        manifest = data if isinstance(data, Manifest) else load_data(data)
        chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, changes=changes)
        self.clips = tuple(clip for clip in manifest.clips if split in (None, clip.split))
        if not self.clips:
            raise DatasetError(
                f"{manifest.source} has no clips of the part '{split}': make one with `marey data split`"
            )
        self.classes = manifest.labels
        self.contract = _frame_contract(chosen)
        self.shape = self.contract.shape
        self._random, self._transform, self._limits = random, transform, limits

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return the frames of a clip and the number of its class.

        Raises:
            VideoError: the file cannot be used.
        """
        view = View(1 + int(torch.randint(_VIEWS, (1,)))) if self._random else View()
        found = read_clip(self.clips[index], self.contract, view=view, limits=self._limits)
        streams = {name: self._made(frames) for name, frames in found.items()}
        return next(iter(streams.values())) if len(streams) == 1 else streams, self.target(index)

    def target(self, index: int) -> int:
        """Return the number of a clip's class; nothing is decoded."""
        label = self.clips[index].label
        return _UNLABELLED if label is None else self.classes.index(label)

    def _made(self, frames: Tensor) -> Any:
        shown = luma(frames).unsqueeze(-3) if self.shape[1] == 1 else frames
        return shown if self._transform is None else self._transform(shown)


class FeatureDataset(Dataset[tuple[Any, int]]):
    """Features of clips, read from their files when they are asked for.

    An item is the features of a clip, float32 (T, D), and the number of its class, -1 where there are no labels. With
    several streams it has a dictionary of them.

    Args:
        source: a folder or an .npz file of features, as `marey extract --out` writes it, or a table that was read.
        split: take the clips of this part only.
        streams: names of streams; all by default.
        transform: called with the features of each stream; its result takes their place.

    Attributes:
        clips: in the order of the items.
        classes: names of the classes, in the order of their numbers; those of all parts.

    Raises:
        DatasetError: the features cannot be read, or no clip is in that part.
        UsageError: there is no such stream.
    """

    def __init__(
        self,
        source: FeatureTable | str | Path,
        *,
        split: Part | None = None,
        streams: tuple[str, ...] = (),
        transform: Transform | None = None,
    ) -> None:
        if isinstance(source, FeatureTable):
            table = source
        else:
            packed = Path(source).suffix.lower() == ".npz"
            table = read_feature_file(source) if packed else read_feature_folder(source)
        unknown = [name for name in streams if name not in table.streams]
        if unknown:
            raise UsageError(f"{table.source} has no stream '{unknown[0]}', but {', '.join(table.streams)}")
        self.clips = tuple(clip for clip in table.clips if split in (None, clip.split))
        if not self.clips:
            raise DatasetError(f"{table.source} has no clips of the part '{split}'")
        self.classes = tuple(sorted({clip.label for clip in table.clips if clip.label is not None}))
        self.streams = streams or table.streams
        self._transform = transform

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return the features of a clip and the number of its class.

        Raises:
            VideoError: its file cannot be used.
        """
        clip = self.clips[index]
        found: dict[str, Any] = {}
        for stream in self.streams:
            values = torch.from_numpy(np.array(clip.read(stream), np.float32))
            found[stream] = values if self._transform is None else self._transform(values)
        target = _UNLABELLED if clip.label is None else self.classes.index(clip.label)
        return found[self.streams[0]] if len(self.streams) == 1 else found, target


def _frame_contract(recipe: Recipe) -> Contract:
    """Return the contract of a recipe's frames, before its encoder."""
    spec = recipe.encoder
    if family_of(spec).gives != "frames":
        size = architecture(spec, frames=recipe.sampling.count).size
        spec = EncoderSpec(name="pixels", size=size)
    return Contract.from_recipe(recipe, load_encoder(spec, frames=recipe.sampling.count), multi_view=False)
