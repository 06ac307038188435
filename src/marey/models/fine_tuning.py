"""Choice of what is trained of a network before a head: its last blocks, or low-rank adapters."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from marey.errors import UsageError


class LowRank(BaseModel):
    """Low-rank adapters (LoRA, Hu et al. 2021) beside linear layers, which stay as they are.

    Attributes:
        rank: of the product that is added to a layer's weights.
        alpha: the product is multiplied by alpha / rank.
        dropout: share of an adapter's inputs that is dropped in training.
        modules: names of the linear layers, such as `[query, value]`; "auto" takes the attention's projections to
            queries and values, or the one to queries, keys and values together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: Annotated[int, Field(ge=1, le=1024)] = 8
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 16.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    modules: Literal["auto"] | Annotated[tuple[str, ...], Field(min_length=1)] = "auto"


class FineTuning(NamedTuple):
    """The part of a network before a head that is trained with the head.

    Attributes:
        unfreeze: number of its last blocks; 0 for none.
        lora: adapters in all of its blocks; None for none.
    """

    unfreeze: int = 0
    lora: LowRank | None = None

    @property
    def trains(self) -> bool:
        """True if there is something to train but the head."""
        return self.unfreeze > 0 or self.lora is not None

    def refuse(self, head: str) -> UsageError:
        """Return the error for a head on features, or a network that is trained whole."""
        key = f"training.unfreeze={self.unfreeze}" if self.unfreeze else "training.lora"
        return UsageError(
            f"{key} trains a part of an encoder, and a {head} has none: leave it out, or begin from a recipe with an "
            "encoder, such as finetune or videomae"
        )
