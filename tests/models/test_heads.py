"""Every registered head, by name: what is registered tomorrow is tested tomorrow."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from marey.errors import UsageError
from marey.models import Head, Standardise, create_head, head_names, masked_mean
from marey.models.head import Dropout

DIM, CLASSES = 12, 5

OPTIONS = {"lstm-dense": {"hidden": 48, "dense": 40}}  # by default it has 1,200 and 1,200

every_head = pytest.mark.parametrize("name", head_names("features"))


def trained(name: str, *, seed: int = 0) -> Head:
    """A head in evaluation mode, none of whose parameters is where it began."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = create_head(name, (DIM,), CLASSES, OPTIONS.get(name, {}))
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        head.prepare(clips(20, 8) * 3 + 1)
    return head.eval()


def clips(count: int, length: int, *, seed: int = 0) -> Tensor:
    return torch.randn(count, length, DIM, generator=torch.Generator().manual_seed(seed))


def everywhere(features: Tensor) -> Tensor:
    return torch.ones(features.shape[:2], dtype=torch.bool)


def some(count: int, length: int) -> Tensor:
    """A mask with gaps, alike in no two clips, at least one frame in each."""
    mask = torch.rand(count, length, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[torch.arange(count), torch.arange(count) % length] = True
    assert not mask.all()
    return mask


def test_the_heads_that_were_promised_are_there() -> None:
    promised = {"mean", "lstm", "bilstm", "gru", "tcn", "attention", "step", "transformer"}
    assert promised <= set(head_names("features"))


@every_head
@pytest.mark.parametrize("length", [1, 2, 3, 16, 33])
def test_clips_of_any_length_give_a_logit_a_class(name: str, length: int) -> None:
    head = trained(name)
    for count in (1, 3):
        features = clips(count, length)
        logits = head(features, everywhere(features))
        assert logits.shape == (count, CLASSES)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()


@every_head
@pytest.mark.parametrize("rubbish", [1e9, float("inf"), float("nan")])
def test_masked_frames_have_no_influence(name: str, rubbish: float) -> None:
    head = trained(name)
    features, mask = clips(6, 10), some(6, 10)
    spoilt = features.masked_fill(~mask.unsqueeze(-1), rubbish)
    assert torch.equal(head(spoilt, mask), head(features, mask))
    assert not torch.allclose(head(features, everywhere(features)), head(features, mask))


@every_head
def test_one_frame_is_enough(name: str) -> None:
    head = trained(name)
    mask = torch.eye(7, dtype=torch.bool)
    assert head(clips(7, 7), mask).isfinite().all()


@pytest.mark.parametrize("name", sorted(set(head_names("features")) - {"attention", "step", "transformer", "tcn"}))
def test_a_masked_frame_is_as_if_it_had_never_been(name: str) -> None:
    head = trained(name).double()  # a layer of 1,200 units adds up to 3e-5 of rounding in float32
    features, mask = clips(6, 10).double(), some(6, 10)
    together = head(features, mask)
    for clip, there, logits in zip(features, mask, together, strict=True):
        alone = clip[there].unsqueeze(0)
        torch.testing.assert_close(head(alone, everywhere(alone))[0], logits, rtol=1e-9, atol=1e-9)


@every_head
def test_a_clip_does_not_see_the_others_of_its_batch(name: str) -> None:
    head = trained(name)
    features, mask = clips(5, 9), some(5, 9)
    together = head(features, mask)
    for number in range(5):
        alone = head(features[number : number + 1], mask[number : number + 1])
        torch.testing.assert_close(alone[0], together[number], rtol=1e-4, atol=1e-5)


@every_head
def test_every_parameter_learns(name: str) -> None:
    head = trained(name).train()
    features, mask = clips(8, 6), some(8, 6)
    targets = torch.arange(8) % CLASSES
    nn.functional.cross_entropy(head(features, mask), targets).backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@every_head
def test_a_new_head_can_begin_to_learn(name: str) -> None:
    torch.manual_seed(0)
    head = create_head(name, (DIM,), CLASSES, {"dropout": 0, **OPTIONS.get(name, {})})
    features = clips(CLASSES, 6)
    head.prepare(features)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.01)
    targets = torch.arange(CLASSES)
    losses = []
    for _ in range(60):
        loss = nn.functional.cross_entropy(head(features, everywhere(features)), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@every_head
def test_the_same_seed_gives_the_same_head_and_the_same_answer(name: str) -> None:
    features, mask = clips(4, 8), some(4, 8)
    one, again, other = trained(name), trained(name), trained(name, seed=1)
    assert all(torch.equal(left, right) for left, right in zip(one.parameters(), again.parameters(), strict=True))
    assert torch.equal(one(features, mask), again(features, mask))
    assert torch.equal(one(features, mask), one(features, mask))
    assert not torch.allclose(one(features, mask), other(features, mask))


@every_head
def test_dropout_is_at_work_in_training_alone(name: str) -> None:
    head = trained(name)
    features = clips(4, 8)
    mask = everywhere(features)
    torch.manual_seed(0)
    still = head(features, mask)
    head.train()
    assert not torch.allclose(head(features, mask), head(features, mask))
    assert torch.equal(head.eval()(features, mask), still)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(0)
    values = torch.ones(301, 997)
    dropped = Dropout(share)(values)
    assert float((dropped == 0).float().mean()) == pytest.approx(share, abs=0.005)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.02)
    assert len(dropped.unique()) == 2
    kept = (dropped != 0).float()
    assert float((kept[:, 1:] * kept[:, :-1]).mean()) == pytest.approx((1 - share) ** 2, abs=0.01)  # neighbours


def test_dropping_nothing_changes_nothing_and_dropping_all_is_refused() -> None:
    values = torch.randn(5, 3)
    assert torch.equal(Dropout(0.0)(values), values)
    assert torch.equal(Dropout(0.5).eval()(values), values)
    with pytest.raises(UsageError, match="dropout=1"):
        create_head("mean", (DIM,), CLASSES, {"dropout": 1})


@every_head
def test_summaries_have_no_trained_parameters(name: str) -> None:
    head = trained(name).train()
    features, mask = clips(4, 8), some(4, 8)
    summary = head.forward_features(features, mask)
    assert not summary.requires_grad
    torch.testing.assert_close(head.eval().forward_head(summary, mask), head(features, mask))


@every_head
def test_all_heads_but_the_averages_see_the_order_of_time(name: str) -> None:
    head = trained(name)
    features = clips(4, 12)
    mask = everywhere(features)
    forwards, backwards = head(features, mask), head(features.flip(1), mask)
    if name in ("mean", "frame-average"):
        torch.testing.assert_close(forwards, backwards, rtol=1e-4, atol=1e-5)
    else:
        assert (forwards - backwards).abs().max() > 0.01 * forwards.abs().max()


@every_head
@pytest.mark.parametrize("places", [1, 4])
def test_a_permutation_of_the_frames_changes_the_logits_of_all_heads_but_the_averages(name: str, places: int) -> None:
    """With several tokens a timestamp too, as video transformers give them: timestamps are exchanged as a whole."""
    head = trained(name)
    features = clips(4, 12 * places)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(2))
    shuffled = features.unflatten(1, (12, places))[:, order].flatten(1, 2)
    given, other = head(features, everywhere(features)), head(shuffled, everywhere(features))
    if name in ("mean", "frame-average"):
        torch.testing.assert_close(given, other, rtol=1e-4, atol=1e-5)
    else:
        assert ((given - other).abs().amax(1) > 0.005 * given.abs().amax(1)).all()


@pytest.mark.parametrize("name", ["attention", "step", "transformer"])
def test_a_new_probe_sees_the_order_before_it_has_learned(name: str) -> None:
    torch.manual_seed(0)
    head = create_head(name, (DIM,), CLASSES).eval()
    features = clips(2, 9).sort(1).values
    mask = everywhere(features)
    assert not torch.allclose(head(features, mask), head(features.flip(1), mask), atol=1e-5)


@pytest.mark.parametrize(
    "name", ["attention", "step", "transformer", "tcn", "pyramid", "lstm", "bilstm", "gru", "lrcn"]
)
def test_a_head_learns_actions_that_differ_in_their_order_alone(name: str) -> None:
    """Nearly symmetric actions: the same frames, in one order and in the other."""
    steps = clips(20, 6).cumsum(1) * 0.1 + torch.linspace(-1, 1, 6)[:, None]
    features = torch.cat([steps, steps.flip(1)])
    targets = torch.arange(2).repeat_interleave(20)
    torch.manual_seed(0)
    head = create_head(name, (DIM,), 2)
    head.prepare(features)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.003)
    mask = everywhere(features)
    for _ in range(60):
        loss = nn.functional.cross_entropy(head(features, mask), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    predicted = head.eval()(features, mask).argmax(1)
    assert (predicted == targets).float().mean() > 0.9
    backwards = head(features.flip(1), mask).argmax(1)
    assert (backwards == targets).float().mean() < 0.1


@pytest.mark.parametrize("name", sorted(set(head_names("features")) - {"bilstm-dense", "lstm-dense"}))
def test_a_head_remembers_the_scale_that_it_was_prepared_with(name: str) -> None:
    features = clips(10, 8)
    torch.manual_seed(0)
    head = create_head(name, (DIM,), CLASSES).eval()
    torch.manual_seed(0)
    scaled = create_head(name, (DIM,), CLASSES).eval()
    for each in (head, scaled):
        with torch.no_grad():
            for parameter in each.parameters():
                parameter.add_(0.1)
    head.prepare(features)
    scaled.prepare(features * 1000 + 77)
    mask = everywhere(features)
    torch.testing.assert_close(scaled(features * 1000 + 77, mask), head(features, mask), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_bilstm_that_is_pooled_leaves_out_frames_outside_the_mask(pooling: str) -> None:
    torch.manual_seed(0)
    head = create_head("bilstm-dense", (DIM,), CLASSES, {"hidden": 4, "layers": 2, "pooling": pooling}).eval()
    features = clips(3, 8)
    mask = torch.ones(3, 8, dtype=torch.bool)
    mask[:, 6:] = False
    torch.testing.assert_close(head(features, mask), head(features[:, :6], mask[:, :6]))
    ends = create_head("bilstm-dense", (DIM,), CLASSES, {"hidden": 4, "layers": 2}).eval()
    ends.load_state_dict(head.state_dict())
    assert not torch.allclose(ends(features, mask), head(features, mask))


def test_an_lstm_has_a_dense_layer_where_it_is_asked_for() -> None:
    head = create_head("lstm", (DIM,), CLASSES, {"hidden": 4, "layers": 2, "dense": 7}).eval()
    assert {"dense.weight", "linear.weight"} <= head.state_dict().keys()
    assert head.state_dict()["linear.weight"].shape == (CLASSES, 7)
    features = clips(3, 8)
    assert head(features, everywhere(features)).shape == (3, CLASSES)


def test_dropout_between_the_layers_of_an_lstm_is_at_work_in_training_alone() -> None:
    options = {"hidden": 4, "layers": 2, "dropout": 0.0, "between": 0.7}
    head, features = create_head("lstm", (DIM,), CLASSES, options), clips(3, 8)
    answers = [head.train()(features, everywhere(features)) for _ in range(2)]
    assert not torch.equal(*answers)
    answers = [head.eval()(features, everywhere(features)) for _ in range(2)]
    assert torch.equal(*answers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create_head("lstm", (DIM,), CLASSES, options | {"layers": 1})  # there is nothing between


def test_standardise_gives_mean_0_and_deviation_1() -> None:
    values = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 10, 0.1, 100]) + 5
    standardise = Standardise(4)
    assert torch.equal(standardise(values), values)
    standardise.fit(values)
    out = standardise(values)
    torch.testing.assert_close(out.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(out.std(0, correction=0)[[0, 1, 3]], torch.ones(3), atol=1e-3, rtol=0)


def test_standardise_does_not_blow_up_what_hardly_varies() -> None:
    values = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    values[:, 1] = 3 + 1e-9 * values[:, 1]
    standardise = Standardise(2)
    standardise.fit(values)
    new = standardise(torch.tensor([[0.0, 3.01]]))
    assert new.isfinite().all()
    assert abs(new[0, 1]) < 5
    standardise.fit(torch.full((10, 2), 4.0))
    assert torch.equal(standardise(torch.full((3, 2), 4.0)), torch.zeros(3, 2))


def test_standardise_keeps_its_scale_with_the_model() -> None:
    assert set(Standardise(3).state_dict()) == {"mean", "scale"}
    assert not list(Standardise(3).parameters())


def test_masked_mean_counts_the_frames_that_there_are() -> None:
    values = torch.tensor([[[1.0], [5.0], [100.0]], [[1.0], [2.0], [3.0]]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert masked_mean(values, mask).tolist() == [[3.0], [0.0]]
