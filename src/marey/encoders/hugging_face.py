"""Networks of the library `transformers`: their weights, configurations and normalisation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, cast

import torch

from marey.encoders.backbone import Colour
from marey.encoders.contract import EncoderSpec
from marey.encoders.hub_configuration import difference, with_keys
from marey.encoders.hub_networks import TEXT_TOWERS, UNCHANGED, VIDEO_TRANSFORMERS, VideoTransformer
from marey.encoders.registry import EncoderFamily, WeightsOrigin
from marey.encoders.weights import NO_NETWORK, offline_if_unreachable
from marey.errors import UsageError, WeightsError, first_line
from marey.extras import install_command, pip_command
from marey.video import Interpolation

_PREPARATION: Final = ("video_preprocessor_config.json", "preprocessor_config.json", "processor_config.json")
_VOCABULARIES: Final = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model")
_RESAMPLING: Final[dict[int, Interpolation]] = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # as Pillow counts
_LATER: Final = ("use_rope_interleave", "use_modality_embeddings", "interpolate_rope")
"""Keys of V-JEPA 2.1's configuration; where one is on, V-JEPA 2 computes something else from the same weights."""


_ABOUT: Final = {**VIDEO_TRANSFORMERS, **TEXT_TOWERS}


def new_video_transformer(spec: EncoderSpec, stated: Mapping[str, Any] | None = None) -> Any:
    """Return the network with random weights, in the configuration of the spec's weights, or the default one.

    Args:
        spec: the encoder.
        stated: keys of the configuration that differ from the default one; None for that of the weights.

    Raises:
        WeightsError: there is no configuration beside the weights, it is not on this machine, or is of another network.
        UsageError: `transformers` is not installed, or its version does not have the network.
    """
    about, library = _ABOUT[spec.name], _library(spec.name)
    if stated is not None:
        configuration = with_keys(getattr(library, about.config)(), stated)
    elif spec.weights in ("pretrained", "random"):
        configuration = getattr(library, about.config)()
    else:
        try:
            configuration = _configuration(spec, local=True)
        except (OSError, ValueError, KeyError) as error:
            raise WeightsError(
                f"{spec.weights} has no configuration of '{spec.name}': {' '.join(str(error).split())}"
            ) from error
    return _without_predictor(getattr(library, about.model)(configuration))


class HubFamily(EncoderFamily):
    """Networks of `transformers`, whose weights are in repositories of the hub."""

    extra = "transformers"
    networks: ClassVar[Mapping[str, VideoTransformer]]

    def pretrained(self, name: str) -> WeightsOrigin:
        """Return the repository on the hub."""
        about = self.networks[name]
        return WeightsOrigin("download", about.repository, about.download, self.extra)

    def configuration(self, spec: EncoderSpec) -> dict[str, Any]:
        """Return the keys of the configuration beside the weights that differ from the default one."""
        if spec.weights == "random":
            return {}
        kind = getattr(_library(spec.name), _ABOUT[spec.name].config)
        source, _, local = _source(spec)
        try:
            with offline_if_unreachable():
                found = _configuration(spec, local=local)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise _not_here(spec, source, error) from error
        return difference(found, kind())

    def origin(self, name: str, weights: str) -> WeightsOrigin:
        """Return where weights come from; a name that is no folder is a repository of the hub."""
        if weights in ("random", "pretrained") or Path(weights).is_dir():
            return super().origin(name, weights)
        return WeightsOrigin("download", weights, extra=self.extra)


def load_video_transformer(spec: EncoderSpec) -> Any:
    """Return the network of a spec, with its weights.

    Raises:
        WeightsError: they cannot be fetched, or are those of another network.
        UsageError: `transformers` is not installed, or its version does not have the network.
    """
    about, library = _ABOUT[spec.name], _library(spec.name)
    if spec.weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return new_video_transformer(spec)
    source, revision, local = _source(spec)
    try:
        with offline_if_unreachable():
            configuration = _configuration(spec, local=local)
            # Weights as safetensors only: no code is read, from a folder or from the hub.
            network, report = getattr(library, about.model).from_pretrained(
                source,
                config=configuration,
                revision=revision,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=local,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise _not_here(spec, source, error) from error
    # The library fills what it does not find with random numbers, and warns.
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("predictor."))
    if missing:
        raise WeightsError(
            f"{source} lacks {len(missing)} tensors of '{spec.name}', '{missing[0]}' first; it holds the weights of "
            "another network"
        )
    return _without_predictor(network)


def load_tokenizer(spec: EncoderSpec) -> Any:
    """Return the tokenizer beside the weights of a network with a text tower.

    Raises:
        WeightsError: there is none, or it cannot be fetched.
        UsageError: `transformers` is not installed, or the weights are random.
    """
    library = _library(spec.name)
    if spec.weights == "random":
        raise UsageError(f"encoder.weights=random of '{spec.name}' know no words: name weights that were trained")
    source, revision, local = _source(spec)
    try:
        # Without a vocabulary the library makes a tokenizer that knows no words.
        if all(_beside(spec, name) is None for name in _VOCABULARIES):
            raise OSError(f"none of {', '.join(_VOCABULARIES)} is there")
        with offline_if_unreachable():
            return library.AutoTokenizer.from_pretrained(
                source, revision=revision, local_files_only=local, trust_remote_code=False
            )
    except (OSError, RuntimeError, ValueError, KeyError, ImportError) as error:
        raise WeightsError(
            f"no tokenizer beside the weights of '{spec.name}' ({source}): {first_line(error)}; "
            "copy its files (tokenizer.json, tokenizer_config.json) into the folder of the weights"
        ) from error


def _not_here(spec: EncoderSpec, source: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"the weights of '{spec.name}' ({source}) are not on this machine, and fetching them failed "
        f"({first_line(error)}). {NO_NETWORK}; or name a folder of them: --set encoder.weights=FOLDER"
    )


def _source(spec: EncoderSpec) -> tuple[str, str, bool]:
    """Return the repository or folder of weights, the revision, and True for a folder."""
    if spec.weights == "pretrained":
        about = _ABOUT[spec.name]
        return about.repository, about.revision, False
    return spec.weights, "main", Path(spec.weights).is_dir()


def _configuration(spec: EncoderSpec, *, local: bool) -> Any:
    """Return the configuration beside the weights.

    Raises:
        WeightsError: it is of another network.
        OSError: it is not there, or cannot be fetched.
    """
    source, revision, _ = _source(spec)
    kind = getattr(_library(spec.name), _ABOUT[spec.name].config)
    stated, _ = kind.get_config_dict(source, revision=revision, local_files_only=local)
    found = stated.get("model_type", kind.model_type)
    if found != kind.model_type:
        raise WeightsError(f"{source} holds the weights of a network of type '{found}', not of '{spec.name}'")
    unknown = [key for key in _LATER if stated.get(key)]
    if spec.name == "vjepa2" and unknown and not hasattr(kind(), unknown[0]):
        version = _library(spec.name).__version__
        raise WeightsError(
            f"{source} holds the weights of V-JEPA 2.1 ('{unknown[0]}'), and transformers {version} has V-JEPA 2 "
            "alone, which computes other features from them: install a version that has V-JEPA 2.1"
        )
    return kind.from_dict(stated)


def normalisation(spec: EncoderSpec) -> tuple[tuple[Colour, Colour], Interpolation]:
    """Return mean and deviation of RGB in [0, 1], and how images are resized: as the weights' own files say.

    `transformers` keeps them in a file beside the weights. Of the pretrained ones they are known; where there is no
    such file, they are taken to be the same.
    """
    about = _ABOUT[spec.name]
    stated = {} if spec.weights in ("pretrained", "random") else _preparation(spec)
    interpolation = _RESAMPLING.get(stated.get("resample", -1), about.interpolation)
    if not {"do_normalize", "image_mean", "image_std"} & set(stated):
        return about.colours, interpolation
    # Of pixels from 0 to 255 the library computes (pixel x factor - mean) / deviation; the factor is 1/255 by default.
    factor = float(stated.get("rescale_factor", 1 / 255)) if stated.get("do_rescale", True) else 1.0
    mean, std = about.colours if stated.get("do_normalize", True) else UNCHANGED
    if stated.get("do_normalize", True):
        mean, std = tuple(stated.get("image_mean", mean)), tuple(stated.get("image_std", std))
    return cast(
        tuple[Colour, Colour], tuple(tuple(value / (255 * factor) for value in each) for each in (mean, std))
    ), interpolation


def _preparation(spec: EncoderSpec) -> dict[str, Any]:
    """Return what the files beside the weights say of how clips are prepared; empty where they say nothing."""
    for name in _PREPARATION:
        path = _beside(spec, name)
        if path is not None:
            try:
                stated = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                source = _source(spec)[0]
                raise WeightsError(f"{name} of {source} cannot be read ({error}): copy the weights again") from error
            found: dict[str, Any] = stated.get("video_processor", stated)
            return found
    return {}


def _beside(spec: EncoderSpec, name: str) -> Path | None:
    """Return a file beside the weights; None where there is none, or it cannot be fetched."""
    from transformers.utils.hub import cached_file

    source, revision, local = _source(spec)
    with offline_if_unreachable():
        path = cached_file(
            source,
            name,
            revision=revision,
            local_files_only=local,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    return None if path is None else Path(path)


def _without_predictor(network: Any) -> Any:
    """Remove the layers of V-JEPA 2 that only its training needs."""
    if hasattr(network, "predictor"):
        network.predictor = None
    return network


def _library(name: str) -> Any:
    """Return `transformers`.

    Raises:
        UsageError: it is not installed, or its version does not have the network.
    """
    try:
        import transformers
    except ImportError as error:
        raise UsageError(
            f"the encoder '{name}' needs the package transformers: {install_command('transformers')}"
        ) from error
    about = _ABOUT[name]
    if not hasattr(transformers, about.model):
        raise UsageError(
            f"the encoder '{name}' needs transformers {about.since} or later, and {transformers.__version__} is "
            f"installed: {pip_command()} install 'transformers>={about.since}'"
        )
    return transformers
