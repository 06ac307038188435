"""Fingerprints of clips: small grey frames at fixed times, by which copies of a clip are told."""

from __future__ import annotations

import hashlib
import json
from typing import Final

import numpy as np
from torch import Tensor

from marey.data import Clip, content_hash
from marey.encoders.cache import FeatureCache
from marey.encoders.clip_reader import clip_span
from marey.errors import VideoError
from marey.video import Limits, decode

SIZE: Final = (36, 48)
"""Height and width of a frame of a fingerprint."""

RATE: Final = 8.0
"""Frames of a fingerprint per second of a clip."""

LONGEST: Final = 32
"""Frames of a fingerprint: four seconds around the middle of a clip."""

_FEWEST: Final = 4
_FORMAT: Final = 1  # raised when the same clip comes to have another fingerprint


def fingerprint(clip: Clip, *, limits: Limits = Limits()) -> Tensor:  # noqa: B008 - frozen
    """Return the fingerprint of a clip, uint8 (T, 36, 48) with T from 4 to 32.

    Args:
        clip: the span; of a longer one than four seconds its middle is taken.
        limits: of decoding.

    Raises:
        VideoError: the clip cannot be used.
    """
    start, end = clip_span(clip, limits)
    count = int(np.clip((end - start) * RATE, _FEWEST, LONGEST))
    times = (start + end) / 2 + (np.arange(count) - (count - 1) / 2) / RATE
    frames = decode(clip.path, times.clip(start, end), size=SIZE, interpolation="area", limits=limits).data
    found: Tensor = frames.float().mean(1).round().byte()
    return found


def cached_fingerprint(
    clip: Clip,
    cache: FeatureCache,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Tensor | None:
    """Return the fingerprint of a clip from the cache, or make it and keep it; None for a clip that cannot be used."""
    try:
        made_from = ["fingerprint", _FORMAT, content_hash(clip.path), clip.start, clip.end]
        key = hashlib.blake2b(json.dumps(made_from).encode(), digest_size=20).hexdigest()
        found = cache.get(key)
        if found is None:
            found = fingerprint(clip, limits=limits)
            cache.keep(key, found)
    except VideoError:
        return None
    return found
