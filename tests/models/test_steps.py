"""Heads that read a source frame by frame say at each frame what they would say to all until then."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from marey.errors import UsageError
from marey.models import Classifier, Head, HeadSpec, create_head, head_names
from marey.models.head import StepState

DIM, CLASSES, FRAMES = 10, 4, 6
PICTURES = (FRAMES, 3, 40, 48)
CAUSAL = ("lstm", "gru", "lrcn", "lstm-dense", "frame-average", "cnn-lstm", "lrcn-small")
WHOLE = ("bilstm", "tcn", "attention", "transformer", "pyramid", "mean", "convlstm", "c3d-lstm-gru")


def build(name: str) -> Head:
    images = name in head_names("frames")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = create_head(name, PICTURES if images else (DIM,), CLASSES)
        if not images:
            head.prepare(torch.randn(20, FRAMES, DIM) * 3 + 1)
    return head.eval()


def clip_for(name: str, frames: int = FRAMES) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if name in head_names("frames"):
        return torch.randint(0, 256, (2, frames, *PICTURES[1:]), dtype=torch.uint8, generator=generator)
    return torch.randn(2, frames, DIM, generator=generator)


@pytest.mark.parametrize("name", CAUSAL)
@torch.inference_mode()
def test_step_by_step_is_what_the_whole_gives_at_every_frame(name: str) -> None:
    head, clip = build(name), clip_for(name)
    state = StepState(memory=FRAMES)
    for length in range(1, FRAMES + 1):
        stepped = head.step(clip[:, length - 1], state)
        whole = head(clip[:, :length], torch.ones(2, length, dtype=torch.bool))
        torch.testing.assert_close(stepped.softmax(-1), whole.softmax(-1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["lrcn", "frame-average", "lrcn-small"])
@torch.inference_mode()
def test_heads_that_average_forget_what_lies_longer_ago_than_a_clip(name: str) -> None:
    head, clip = build(name), clip_for(name, 2 * FRAMES)
    states = {memory: StepState(memory=memory) for memory in (FRAMES, 2 * FRAMES)}
    said = {
        memory: [head.step(clip[:, place], state) for place in range(2 * FRAMES)] for memory, state in states.items()
    }
    assert len(states[FRAMES].recent) == FRAMES
    torch.testing.assert_close(said[FRAMES][FRAMES - 1], said[2 * FRAMES][FRAMES - 1])
    assert not torch.allclose(said[FRAMES][-1], said[2 * FRAMES][-1])


@pytest.mark.parametrize("name", WHOLE)
def test_a_head_that_reads_whole_windows_refuses_to_step_and_says_so(name: str) -> None:
    head = build(name)
    assert not head.causal
    with pytest.raises(UsageError, match="whole windows"):
        head.step(clip_for(name)[:, 0], StepState(memory=FRAMES))


def test_causal_heads_are_those_that_are_named_here() -> None:
    light = [name for name in head_names("features") if not name.endswith("dense")] + ["convlstm", "c3d-lstm-gru"]
    assert {name for name in light if build(name).causal} <= set(CAUSAL)


@pytest.mark.parametrize("fusion", ["late", "early"])
@torch.inference_mode()
def test_streams_step_together_as_they_are_read_together(fusion: str) -> None:
    spec = HeadSpec.model_validate({"name": "gru", "fusion": fusion})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = Classifier(spec, {"appearance": (DIM,), "difference": (DIM,)}, CLASSES).eval()
    assert classifier.causal
    clip = {"appearance": clip_for("gru"), "difference": clip_for("gru").flip(0)}
    states = classifier.initial_state(FRAMES)
    for place in range(FRAMES):
        stepped = classifier.step({name: values[:, place] for name, values in clip.items()}, states)
    torch.testing.assert_close(stepped, classifier(clip), atol=1e-5, rtol=0)
