"""One epoch and one evaluation, against the same worked out without them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from topotune.data.batches import Batch
from topotune.losses.channel import channel_loss
from topotune.losses.strength import GradientRatio
from topotune.topography.positions import positions
from topotune.topography.targets import target_similarity
from topotune.training.device import Precision
from topotune.training.loop import Pull, evaluate, losses, train_epoch
from topotune.training.topography import Topography

CPU = Precision(torch.device("cpu"), bfloat16=False)


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 3),
    )  # fmt: skip


def _batches(*sizes: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    return [
        Batch(torch.randn(n, 1, 6, 6, generator=generator), torch.randint(3, (n,), generator=generator), 1.0)
        for n in sizes
    ]


def _topography(model: nn.Sequential, *, reduction: str = "sum") -> Topography:
    return Topography(model, "line", layer_reduction=reduction, weight=0.5)


def _by_hand(model: nn.Sequential, images: Tensor) -> tuple[Tensor, Tensor]:
    """The two layers' losses, without hooks."""
    first = model[0](images)
    outputs = first, model[2](first.relu())
    one, other = (channel_loss(y, target_similarity(positions("line", y.shape[1])).float()) for y in outputs)
    return one, other


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_layers_are_summed_or_averaged(reduction: str) -> None:
    """The paper's mean over L layers is the code's sum divided by L: λ of the one is λ · L of the other."""
    model, (batch,) = _model(), _batches(5)
    task, topographic = losses(model, batch, _topography(model, reduction=reduction), CPU)
    first, second = _by_hand(model, batch.images)
    assert topographic.item() == pytest.approx((first + second).item() / (2 if reduction == "mean" else 1), rel=1e-6)
    assert task.item() == pytest.approx(F.cross_entropy(model(batch.images), batch.labels).item(), rel=1e-6)


def test_without_a_topography_its_loss_is_zero() -> None:
    (batch,) = _batches(5)
    task, topographic = losses(_model(), batch, None, CPU)
    assert topographic.item() == 0
    assert task > 0


def test_an_epoch_is_sgd_on_task_plus_weight_times_topography() -> None:
    """Each step has its own rate, and its own share of the weight."""
    batches, plan = _batches(6, 4), [(0.2, 1.0), (0.05, 0.25)]
    model, twin = _model(), _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=99, momentum=0.9, weight_decay=0.01)
    task, topographic, strength = train_epoch(model, batches, optimizer, Pull(_topography(model)), CPU, plan)

    speed = [torch.zeros_like(parameter) for parameter in twin.parameters()]
    task_sum = topographic_sum = 0.0
    for batch, (rate, factor) in zip(batches, plan, strict=True):
        loss = F.cross_entropy(twin(batch.images), batch.labels)
        extra = torch.stack(_by_hand(twin, batch.images)).sum()
        grads = torch.autograd.grad(loss + factor * 0.5 * extra, list(twin.parameters()))
        with torch.no_grad():
            for parameter, grad, v in zip(twin.parameters(), grads, speed, strict=True):
                v.mul_(0.9).add_(grad + 0.01 * parameter)
                parameter.sub_(rate * v)
        task_sum += loss.item() * len(batch.labels)
        topographic_sum += extra.item() * len(batch.labels)
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    assert task == pytest.approx(task_sum / 10, rel=1e-5)
    assert topographic == pytest.approx(topographic_sum / 10, rel=1e-5)
    assert strength == pytest.approx((6 * 0.5 + 4 * 0.125) / 10)


@pytest.mark.parametrize("every", [1, 2])
def test_a_weight_that_follows_the_gradients(every: int) -> None:
    """The topography's own weight is then of no consequence; reported is the mean λ, with its factor."""
    batches, plan = _batches(6, 4, 5), [(0.2, 1.0), (0.1, 0.5), (0.1, 0.1)]
    model, twin = _model(), _model()
    optimizers = [torch.optim.SGD(one.parameters(), lr=1) for one in (model, twin)]
    pull = Pull(_topography(model), GradientRatio(0.3, every))
    _task, _topographic, strength = train_epoch(model, batches, optimizers[0], pull, CPU, plan)

    expected, told = None, 0.0
    for step, (batch, (rate, factor)) in enumerate(zip(batches, plan, strict=True)):
        task = F.cross_entropy(twin(batch.images), batch.labels)
        extra = torch.stack(_by_hand(twin, batch.images)).sum()
        reached = list(twin[0].parameters()) + list(twin[2].parameters())
        norms = [
            torch.stack([one.square().sum() for one in torch.autograd.grad(loss, reached, retain_graph=True)]).sum()
            for loss in (task, extra)
        ]
        if step % every == 0:
            new = 0.3 * (norms[0] / norms[1]).sqrt().item()
            expected = new if expected is None else 0.9**every * expected + (1 - 0.9**every) * new
        assert expected is not None
        twin.zero_grad()
        optimizers[1].param_groups[0]["lr"] = rate
        (task + factor * expected * extra).backward()
        optimizers[1].step()
        told += factor * expected * len(batch.labels)
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    assert strength == pytest.approx(told / 15, rel=1e-4)


def test_without_a_pull_nothing_is_said_of_topography() -> None:
    model = _model()
    told = train_epoch(model, _batches(4), torch.optim.SGD(model.parameters(), lr=1), None, CPU, [(0.1, 0.0)])
    assert told[0] > 0
    assert told[1:] == (0, 0)


def test_plan_and_batches_must_be_as_many() -> None:
    model = _model()
    with pytest.raises(ValueError, match="zip"):
        train_epoch(model, _batches(4, 4), torch.optim.SGD(model.parameters(), lr=1), None, CPU, [(0.1, 0.0)])


@pytest.mark.parametrize("ratio", [False, True])
def test_a_share_scales_the_gradient_and_not_what_is_reported(ratio: bool) -> None:
    (batch,) = _batches(6)
    results = []
    for share in (1.0, 0.5):
        model = _model()
        before = [parameter.detach().clone() for parameter in model.parameters()]
        optimizer = torch.optim.SGD(model.parameters(), lr=1)
        pull = Pull(_topography(model), GradientRatio(0.3) if ratio else None)
        shared = Batch(batch.images, batch.labels, share)
        told = train_epoch(model, [shared], optimizer, pull, CPU, [(0.1, 1.0)])
        steps = [old - new for old, new in zip(before, model.parameters(), strict=True)]
        results.append((told, steps))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-6)
    for whole, half in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(half, whole / 2, rtol=1e-4, atol=1e-7)


def test_evaluation_by_hand() -> None:
    """A model that puts out its input: three of four are right; cross-entropy log(1 + 2e⁻¹) or with a 1 more."""
    model = nn.Flatten()
    right = torch.eye(3).view(3, 3, 1, 1)
    batches = [Batch(right, torch.tensor([0, 1, 2]), 1.0), Batch(right[:1], torch.tensor([1]), 1.0)]
    found = evaluate(model, batches, CPU)
    assert found.accuracy == 0.75
    base = torch.tensor(1 + 2 * torch.e**-1).log().item()
    assert found.loss == pytest.approx((3 * base + base + 1) / 4, rel=1e-6)
    assert not model.training


def test_evaluation_leaves_no_gradient_and_no_statistics() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    evaluate(model, _batches(5, 3), CPU)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("run", ["train", "evaluate"])
def test_bfloat16_runs_the_forward_pass_only(run: str) -> None:
    model, seen = _model(), list[torch.dtype]()
    model[2].register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    half = Precision(torch.device("cpu"), bfloat16=True)
    runs: dict[str, Callable[[], object]] = {
        "train": lambda: train_epoch(
            model, _batches(4), torch.optim.SGD(model.parameters(), lr=1), Pull(_topography(model)), half, [(0.1, 1.0)]
        ),
        "evaluate": lambda: evaluate(model, _batches(4), half),
    }
    runs[run]()
    assert seen == [torch.bfloat16]
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert half.images(torch.zeros(2, 3, 4, 4)).is_contiguous(memory_format=torch.channels_last)


def _after(batches: list[Batch], accumulate: int, plan: list[tuple[float, float]]) -> Any:
    """What an epoch tells, and the weights and the last gradients that it leaves."""
    model = _model().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=1, momentum=0.9)
    told = train_epoch(model, batches, optimizer, Pull(_topography(model)), CPU, plan, accumulate)
    gradients = [one.grad for one in model.parameters() if one.grad is not None]
    return told, [*(one.detach() for one in model.parameters()), *gradients]


def _in_double(*sizes: int) -> list[Batch]:
    return [replace(batch, images=batch.images.double()) for batch in _batches(*sizes)]


@pytest.mark.parametrize("accumulate", [2, 3, 5])
@pytest.mark.parametrize("sizes", [(12, 12), (7, 11, 4), (2, 5, 3)])
def test_micro_batches_add_up_to_the_step_of_the_whole(sizes: tuple[int, ...], accumulate: int) -> None:
    """Gradients, weights and what is told, also where a batch cannot be divided evenly, or not so often."""
    batches, plan = _in_double(*sizes), [(0.1, 1.0), (0.05, 0.5), (0.02, 0.1)][: len(sizes)]
    told, whole = _after(batches, 1, plan)
    told_in_parts, parts = _after(batches, accumulate, plan)
    assert told_in_parts == pytest.approx(told, rel=1e-6)
    assert len(parts) == len(whole)
    for one, other in zip(parts, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_micro_batches_go_through_the_network_one_by_one() -> None:
    """So that the memory of one is needed at a time; a rank's share counts as without them."""
    model, seen = _model(), list[int]()
    model[0].register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    optimizer = torch.optim.SGD(model.parameters(), lr=1)
    train_epoch(model, _batches(7, 3), optimizer, None, CPU, [(0.1, 0.0)] * 2, 3)
    assert seen == [3, 2, 2, 3]
    (batch,) = _in_double(6)
    whole, half = (_after([replace(batch, share=one)], 2, [(0.1, 1.0)])[1][6:] for one in (1.0, 0.5))
    assert len(whole) == 6
    for one, other in zip(whole, half, strict=True):
        torch.testing.assert_close(one / 2, other, rtol=1e-6, atol=1e-9)


def test_batch_normalisation_sees_each_micro_batch_alone() -> None:
    """As its description says; so the tests above are about networks without any."""
    torch.manual_seed(0)
    model, (batch,) = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(36, 3)), _batches(6)
    optimizer = torch.optim.SGD(model.parameters(), lr=1)
    train_epoch(model, [batch], optimizer, None, CPU, [(0.1, 0.0)], 2)
    mean = torch.zeros(())
    for part in (batch.images[:3], batch.images[3:]):
        mean = 0.9 * mean + 0.1 * part.mean()
    assert model[0].num_batches_tracked == 2
    assert model[0].running_mean.item() == pytest.approx(mean.item(), rel=1e-5)


def test_a_clips_logits_are_the_mean_of_its_windows() -> None:
    """Clips of 3, 1 and 2 windows, by hand: the first is right only because of its third window."""
    windows = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 6, 0], [0, 0, 2], [1, 0, 0], [0, 0, 4]])
    owner, labels = torch.tensor([0, 0, 0, 1, 2, 2]), torch.tensor([1, 2, 0])
    found = evaluate(nn.Flatten(), [Batch(windows.view(6, 3, 1, 1), labels, owner=owner)], CPU)
    logits = torch.tensor([[2 / 3, 2, 0], [0, 0, 2], [0.5, 0, 2]])
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)
    assert found.roc_auc is None
    one_each = Batch(logits.view(3, 3, 1, 1), labels, owner=torch.arange(3))
    assert evaluate(nn.Flatten(), [one_each], CPU).loss == pytest.approx(found.loss, rel=1e-6)


@pytest.mark.parametrize("windows", [False, True])
def test_the_area_under_the_curve_is_that_of_all_samples_together(windows: bool) -> None:
    """Not a mean over batches; ties count half."""
    generator = torch.Generator().manual_seed(3)
    batches, scores, labels = [], [], []
    for size in (5, 2, 4, 1):
        count = torch.randint(1, 4, (size,), generator=generator) if windows else torch.ones(size, dtype=torch.long)
        owner = torch.arange(size).repeat_interleave(count)
        images = torch.randint(-2, 3, (len(owner), 2), generator=generator).float()
        own = torch.randint(2, (size,), generator=generator)
        batches.append(Batch(images.view(-1, 2, 1, 1), own, owner=owner if windows else None))
        for clip in range(size):
            mean = images[owner == clip].mean(0)
            scores.append(float(mean[1] - mean[0]))
            labels.append(int(own[clip]))
    assert len(set(scores)) < len(scores)
    found = evaluate(nn.Flatten(), batches, CPU)
    assert found.roc_auc == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert 0 < found.roc_auc < 1


def test_where_there_is_no_area_under_the_curve() -> None:
    """One class only, three classes, or scores that are no numbers."""
    two = torch.tensor([[1.0, 0], [0, 1], [3, 1]]).view(3, 2, 1, 1)
    assert evaluate(nn.Flatten(), [Batch(two, torch.tensor([1, 1, 1]))], CPU).roc_auc is None
    assert evaluate(nn.Flatten(), [Batch(two, torch.tensor([1, 0, 1]))], CPU).roc_auc == 0
    assert evaluate(nn.Flatten(), [Batch(two, torch.tensor([0, 1, 0]))], CPU).roc_auc == 1
    bad = two.clone()
    bad[0, 0] = torch.nan
    assert evaluate(nn.Flatten(), [Batch(bad, torch.tensor([0, 1, 0]))], CPU).roc_auc is None
    three = torch.eye(3).view(3, 3, 1, 1)
    assert evaluate(nn.Flatten(), [Batch(three, torch.tensor([0, 1, 0]))], CPU).roc_auc is None
