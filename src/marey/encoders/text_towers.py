"""Networks that have learned images and sentences together: CLIP, SigLIP 2 and X-CLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from marey.encoders.backbone import FrozenBackbone
from marey.encoders.contract import EncoderSpec
from marey.encoders.encoder import Encoder, hw
from marey.encoders.hub_networks import TEXT_TOWERS
from marey.encoders.hugging_face import (
    HubFamily,
    load_tokenizer,
    load_video_transformer,
    new_video_transformer,
    normalisation,
)
from marey.encoders.registry import Architecture, register_encoder
from marey.encoders.trainable import TrainableNetwork, stages_of
from marey.encoders.weights import weights_hash
from marey.errors import UsageError


@dataclass(frozen=True)
class WordEmbeddings:
    """Sentences in the space of the images of one network.

    Attributes:
        vectors: float32 (L, D), of length one; those of X-CLIP are the mean of the sentences as they come.
        scale: the cosine is multiplied by it.
        bias: and this is added; 0 but for SigLIP.
        independent: True for SigLIP, whose training asked of each pair whether it fits, by a sigmoid; False for CLIP
            and X-CLIP, whose training asked which sentence fits best, by a softmax.
        prompts: X-CLIP's change to the sentences, by what a video shows: from (B, L, D) and (B, patches, D) to
            (B, L, D), which is added.
    """

    vectors: Tensor
    scale: float
    bias: float
    independent: bool
    prompts: nn.Module | None = None


class TextImageEncoder(Encoder):
    """CLIP or SigLIP 2, frozen: each image becomes one vector, in the space of the text tower.

    Args:
        spec: `weights` is "pretrained", "random", a folder that `transformers` has written, or a repository of the
            hub.
        frames: T of the clips.
        device: where it runs.
        engine: runtime, see `ENGINES`.

    Raises:
        WeightsError: its weights cannot be fetched, or are those of another network.
        UsageError: it cannot do what the spec asks for, or `transformers` is not installed.
    """

    per_image = True

    def __init__(
        self,
        spec: EncoderSpec,
        *,
        frames: int,
        device: str | torch.device = "cpu",
        engine: str | None = "pytorch",
    ) -> None:
        super().__init__()
        network = load_video_transformer(spec)
        shape = input_shape(spec, network.config, frames)
        colours, interpolation = normalisation(spec)
        frozen = FrozenBackbone(
            network,
            embed_images,
            spec=spec,
            hash=weights_hash(network),
            shape=shape,
            mean=colours[0],
            std=colours[1],
            interpolation=interpolation,
            # The positions of NaFlex are interpolated, with an operation that ONNX does not have.
            exportable=spec.name != "siglip2-naflex",
        )
        self._text_network = network
        self.setup(frozen, device=device, engine=engine, dim=_dim(network))

    def embed_words(self, sentences: Sequence[Sequence[str]]) -> WordEmbeddings:
        """Return one vector for each group of sentences: the mean of its sentences' vectors, each of length one.

        The average over several prompts is that of Radford et al. (2021), section 3.1.4.

        Args:
            sentences: L groups, each of at least one sentence.

        Raises:
            WeightsError: there is no tokenizer beside the weights.
        """
        network, tokenizer = self._text_network, load_tokenizer(self.spec)
        siglip = self.spec.name.startswith("siglip2")
        most = network.config.text_config.max_position_embeddings
        plain = [sentence.lower() if siglip else sentence for group in sentences for sentence in group]
        # SigLIP was trained on lower case, with every sentence filled up to one length, and without a mask.
        tokens = tokenizer(
            plain,
            padding="max_length" if siglip else True,
            truncation=True,
            max_length=most,
            return_tensors="pt",
        )
        given = {"input_ids": tokens["input_ids"]}
        if not siglip:
            given["attention_mask"] = tokens["attention_mask"]
        with torch.inference_mode():
            found = network.get_text_features(**given)
        vectors: Tensor = getattr(found, "pooler_output", found).float()  # older versions give the vectors alone
        if self.spec.name != "xclip":
            vectors = normalize(vectors, dim=-1)
        each = vectors.split([len(group) for group in sentences])
        means = torch.stack([group.mean(0) for group in each])
        return WordEmbeddings(
            vectors=means if self.spec.name == "xclip" else normalize(means, dim=-1),
            scale=float(network.logit_scale.exp()),
            bias=float(network.logit_bias) if siglip else 0.0,
            independent=siglip,
            prompts=network.prompts_generator if self.spec.name == "xclip" else None,
        )


class TextVideoEncoder(TextImageEncoder):
    """X-CLIP, frozen: a clip becomes 1 + P vectors, in the space of the text tower.

    The first is the video's own; the others are the means over the frames of each of P patches, which its prompts need.
    Arguments and errors as for `TextImageEncoder`.
    """

    per_image = False


@register_encoder(*(name for name in TEXT_TOWERS if name != "xclip"))
class TextImageFamily(HubFamily):
    """Image networks of Hugging Face with a text tower."""

    per_image = True
    networks = TEXT_TOWERS
    has_text_tower = True
    encoder: ClassVar[type[TextImageEncoder]] = TextImageEncoder

    def load(
        self, spec: EncoderSpec, *, frames: int, device: str | torch.device, engine: str | None
    ) -> TextImageEncoder:
        """Return the encoder with its weights."""
        return self.encoder(spec, frames=frames, device=device, engine=engine)

    def meta(self, spec: EncoderSpec, *, frames: int) -> Architecture:
        """Return the network without weights, of an image or a clip."""
        network: Any = new_video_transformer(spec).eval()
        shape = input_shape(spec, network.config, frames)
        example = torch.empty(1, *shape)

        def run(images: Tensor) -> Tensor:
            return embed_images(network, images)

        whole = len(shape) == 4
        length = 1 + _patches(network.config) if whole else frames
        return Architecture(network, run, example, (shape[-2], shape[-1]), whole, (_dim(network),), length)

    def trainable(self, spec: EncoderSpec, configuration: Mapping[str, Any], *, frames: int) -> TrainableNetwork:
        """Return the network of images or clips, without the text tower; its blocks are the layers of the image tower.

        The layers after them are trained with the last one, those of X-CLIP over the frames as well.
        """
        if spec.name == "siglip2-naflex":
            raise UsageError("siglip2-naflex reads images of any shape, and is not trained here: take siglip2")
        random = spec.weights == "random"
        network: Any = new_video_transformer(spec, configuration) if random else load_video_transformer(spec)
        shape = input_shape(spec, network.config, frames)
        (mean, std), _ = normalisation(spec)
        for name in ("text_model", "text_projection", "prompts_generator"):
            if hasattr(network, name):
                setattr(network, name, None)
        vision = network.vision_model
        after = [getattr(vision, name, None) for name in ("post_layernorm", "head")]
        after += [getattr(network, name, None) for name in ("visual_projection", "mit", "prompts_visual_layernorm")]
        clips = len(shape) == 4
        return TrainableNetwork(
            network,
            embed_images,
            per_image=not clips,
            stages=stages_of(list(vision.encoder.layers), after),
            mean=mean,
            std=std,
            size=(shape[-2], shape[-1]),
            dim=_dim(network),
        )


@register_encoder("xclip")
class TextVideoFamily(TextImageFamily):
    """A video network of Hugging Face with a text tower."""

    per_image = False
    encoder = TextVideoEncoder


def input_shape(spec: EncoderSpec, config: Any, frames: int) -> tuple[int, ...]:
    """Return the shape of one input: (3, H, W) of an image, (T, 3, H, W) of a clip.

    Args:
        spec: its size has to be that of the network.
        config: of the network.
        frames: T of the clips.

    Raises:
        UsageError: the network cannot take clips of that length or size, or a grid is asked for.
    """
    vision = config.vision_config
    if spec.grid is not None:
        raise UsageError(f"{spec.name} gives the vectors that sentences share, and no grid: --set encoder.grid=null")
    by_patches = spec.name == "siglip2-naflex"
    side = round(vision.num_patches**0.5) * vision.patch_size if by_patches else vision.image_size
    size = hw(spec.size, (side, side))
    if size != (side, side):
        raise UsageError(
            f"{spec.name} is built for {side} x {side} pixels, not {size[0]} x {size[1]}: --set encoder.size={side}"
        )
    if spec.name != "xclip":
        return (3, side, side)
    if frames != vision.num_frames:
        raise UsageError(
            f"xclip is built for {vision.num_frames} frames, not {frames}: --set sampling.count={vision.num_frames}"
        )
    return (frames, 3, side, side)


def embed_images(network: Any, pixels: Tensor) -> Tensor:
    """Return the vectors of normalised images, (N, 3, H, W) to (N, D), or of clips, see `TextVideoEncoder`."""
    kind = network.config.model_type
    if kind == "xclip":
        return _embed_clips(network, pixels)
    if kind == "siglip2":
        side = network.config.vision_config.patch_size
        rows, columns = pixels.shape[-2] // side, pixels.shape[-1] // side
        cells = pixels.unflatten(-1, (columns, side)).unflatten(-3, (rows, side))  # N, 3, rows, side, columns, side
        patches = cells.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        found = network.get_image_features(
            pixel_values=patches,
            pixel_attention_mask=torch.ones(patches.shape[:2], dtype=torch.int64, device=pixels.device),
            spatial_shapes=torch.tensor([[rows, columns]] * len(pixels), device=pixels.device),
        )
    else:
        found = network.get_image_features(pixel_values=pixels)
    return cast(Tensor, getattr(found, "pooler_output", found))  # older versions give the vectors alone


def _embed_clips(network: Any, clips: Tensor) -> Tensor:
    """Return the vector of each video, then those of its patches as the prompts read them: (N, 1 + P, D)."""
    count, frames = clips.shape[:2]
    seen = network.vision_model(pixel_values=clips.flatten(0, 1))
    by_frame = network.visual_projection(seen[1]).unflatten(0, (count, frames))
    video = network.mit(by_frame)[1]
    patches = network.prompts_visual_layernorm(seen[0][:, 1:]) @ network.prompts_visual_projection
    return torch.cat([video[:, None], patches.unflatten(0, (count, frames)).mean(1)], dim=1)


def _patches(config: Any) -> int:
    vision = config.vision_config
    return int(vision.image_size // vision.patch_size) ** 2


def _dim(network: Any) -> int:
    config = network.config
    return int(getattr(config, "projection_dim", None) or config.vision_config.hidden_size)
