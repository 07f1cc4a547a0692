"""Three lines in anybody's training loop: what they add to the loss, and that they leave nothing behind."""

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import topotune
from topotune.errors import InputError
from topotune.losses import LOSSES
from topotune.losses.channel import channel_loss
from topotune.losses.neighbours import activation_similarity, global_similarity, weight_similarity
from topotune.losses.smoothness import laplacian_loss
from topotune.topography.positions import positions
from topotune.topography.targets import neighbour_pairs, sheet_cells, target_similarity
from topotune.training.topography import Topography


class Net(nn.Module):
    """Two blocks with a way around, and a linear layer: somebody's network, with nothing of ours."""

    def __init__(self, units: int = 9) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(2))
        self.hidden = nn.Linear(4, units)
        self.last = nn.Linear(units, 3)

    def forward(self, images: Tensor) -> Tensor:
        y = self.first(images).relu()
        for block in self.blocks:
            y = y + block(y).tanh()
        return self.last(self.hidden(y.mean((2, 3))).relu())  # type: ignore[no-any-return]


def _net(units: int = 9) -> Net:
    torch.manual_seed(0)
    return Net(units)


def _images(seed: int = 1, size: int = 5) -> Tensor:
    return torch.randn(size, 1, 6, 6, generator=torch.Generator().manual_seed(seed))


LABELS = torch.tensor([0, 1, 2, 1, 0])


def _outputs(net: Net, images: Tensor) -> dict[str, Tensor]:
    """What each layer puts out, by hand."""
    found = {"first": net.first(images)}
    y = found["first"].relu()
    for number, block in enumerate(net.blocks):
        found[f"blocks.{number}"] = block(y)
        y = y + found[f"blocks.{number}"].tanh()
    found["hidden"] = net.hidden(y.mean((2, 3)))
    found["last"] = net.last(found["hidden"].relu())
    return found


def _target(organisation: str, channels: int, distance: str = "euclidean", **options: Any) -> Tensor:
    return target_similarity(positions(organisation, channels, **options), distance).float()


def _hooks(model: nn.Module) -> int:
    return sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules())


def test_three_lines_add_the_loss() -> None:
    """Steps of SGD in a hand-written loop, against the loss made by hand in another."""
    net, twin = _net(), _net()
    optimizers = [torch.optim.SGD(one.parameters(), lr=0.1) for one in (net, twin)]
    topography = Topography(net, "grid2d", weight=0.1)
    for step in range(3):
        with topography:
            logits = net(_images(step))
        loss = F.cross_entropy(logits, LABELS) + topography.loss()

        caught = _outputs(twin, _images(step))
        each = [channel_loss(caught[name], _target("grid2d", 4)) for name in ("first", "blocks.0", "blocks.1")]
        expected = F.cross_entropy(caught["last"], LABELS) + 0.1 * torch.stack(each).sum()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
        for one, optimizer in zip((loss, expected), optimizers, strict=True):
            optimizer.zero_grad()
            one.backward()
            optimizer.step()
    for mine, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


def test_it_is_a_public_name() -> None:
    assert topotune.Topography is Topography


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_layers_are_summed_or_averaged(reduction: str) -> None:
    net = _net()
    topography = Topography(net, "circle", layer_reduction=reduction, distance="l1", radius=1.0)
    with topography:
        net(_images())
    caught = _outputs(net, _images())
    target = _target("circle", 4, "l1", radius=1.0)
    each = [channel_loss(caught[name], target).item() for name in ("first", "blocks.0", "blocks.1")]
    assert topography.value().item() == pytest.approx(sum(each) / (3 if reduction == "mean" else 1), rel=1e-6)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ((), ["first", "blocks.0", "blocks.1"]),
        (["blocks.*"], ["blocks.0", "blocks.1"]),
        (["blocks.1", "first"], ["first", "blocks.1"]),
        (["hidden"], ["hidden"]),
        ("blocks.*", ["blocks.0", "blocks.1"]),
        (["last", "first", "first"], ["first", "last"]),
        (["*i*"], ["first", "hidden"]),
    ],
)
def test_layers_by_name_and_by_pattern(layers: list[str] | str, expected: list[str]) -> None:
    net = _net()
    topography = Topography(net, "line", layers=layers)
    assert list(topography.layers) == expected
    with topography:
        net(_images())
    caught = _outputs(net, _images())
    each = [channel_loss(caught[name], _target("line", caught[name].shape[1])).item() for name in expected]
    assert topography.value().item() == pytest.approx(sum(each), rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"weight": -0.1}, "weight = -0.1 must be a finite number >= 0"),
        ({"weight": float("nan")}, "weight = nan must be a finite number >= 0"),
        ({"weight": "1"}, "weight = '1' must be a finite number >= 0"),
        ({"layers": "conv7"}, "no layer matches 'conv7'; "),
        ({"organisation": "line", "radius": 1.0}, "topography 'line' has no options, so no 'radius'"),
        ({"layers": ["conv7"]}, "no layer matches 'conv7'; convolutions and linear layers here are first, blocks.0, "),
        ({"layers": ["first", "block.*"]}, "no layer matches 'block.*'; "),
        ({"organisation": "grid4d"}, "unknown topography 'grid4d'; choose from grid2d, grid3d"),
        ({"organisation": "grid2d-learned"}, "unknown topography 'grid2d-learned'; choose from grid2d, grid3d"),
        ({"loss": "mse"}, "unknown loss 'mse'; choose from channel, ws"),
        ({"layer_reduction": "max"}, "unknown layer_reduction 'max'; choose from sum, mean"),
        ({"distance": "l2"}, "unknown distance 'l2'; choose from euclidean, l1"),
        ({"radius": 1.0}, "topography 'grid2d': unknown option 'radius'; choose from grid_divisor"),
        ({"organisation": "circle", "radius": 0.0}, "radius = 0.0 is out of range"),
        ({"loss": "laplacian"}, "topography 'grid2d' has no sheet for the loss 'laplacian'; choose from sheet"),
        (
            {"loss": "as", "organisation": "circle"},
            "topography 'circle' has no neighbours for the loss 'as'; choose from grid2d, grid3d, line, sheet",
        ),
        ({"loss": "ws", "layers": ["blocks"]}, "layer 'blocks' (ModuleList) has no weights (C, ...) for this loss"),
    ],
)
def test_wrong_input_is_said_at_once_in_one_line(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError) as error:
        Topography(_net(), **settings)
    assert str(error.value).startswith(reason)
    assert "\n" not in str(error.value)


def test_every_neighbour_loss_by_hand() -> None:
    net, layers = _net(), ["hidden"]
    hidden, weights = _outputs(net, _images())["hidden"], net.hidden.weight
    places = positions("sheet", 9)
    pairs, target = neighbour_pairs(places), target_similarity(places).float()
    expected = {
        "ws": weight_similarity(weights, pairs),
        "as": activation_similarity(hidden, pairs),
        "as_global": global_similarity(hidden, target),
        "laplacian": laplacian_loss(weights, sheet_cells(places)),
        "channel": channel_loss(hidden, target),
    }
    for loss, value in expected.items():
        topography = Topography(net, "sheet", loss=loss, layers=layers)
        with topography:
            net(_images())
        assert topography.value().item() == pytest.approx(value.item(), rel=1e-6)


@pytest.mark.parametrize("loss", [name for name, entry in LOSSES.items() if entry.reads == "weights"])
def test_a_loss_of_weights_needs_no_forward_pass(loss: str) -> None:
    net = _net()
    topography = Topography(net, "sheet", loss=loss, layers=["hidden"], weight=2.0)
    first = topography.loss()
    assert first.item() == topography.loss().item() == pytest.approx(2 * topography.value().item())
    first.backward()
    assert net.hidden.weight.grad is not None
    assert net.hidden.weight.grad.abs().sum() > 0
    assert [name for name, one in net.named_parameters() if one.grad is not None] == ["hidden.weight"]
    with topography:
        assert _hooks(net) == 0  # nor any hook


@pytest.mark.parametrize(
    ("units", "loss", "organisation"),
    [
        (121, "ws", "grid2d"), (121, "as", "grid2d"), (121, "as_global", "grid2d"), (121, "laplacian", "sheet"),
        (128, "ws", "grid2d"), (128, "as", "grid2d"), (128, "laplacian", "sheet"), (128, "as_relu", "sheet"),
        (128, "ws_cosine", "grid3d"), (128, "as_global", "circle"),
    ],
)  # fmt: skip
def test_a_fully_connected_layer_on_a_grid(units: int, loss: str, organisation: str) -> None:
    """121 fill a grid of 11 x 11; 128 leave places of one of 12 x 12 empty, and fill a sheet of 8 x 16."""
    net = _net(units)
    topography = Topography(net, organisation, loss=loss, layers=["hidden"])
    values = []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for _step in range(5):
        with topography:
            net(_images())
        value = topography.loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0]
    assert topography.positions("hidden", units).shape == (units, 3 if organisation == "grid3d" else 2)


def test_nothing_stays_behind() -> None:
    net = _net()
    keys, names, kind = list(net.state_dict()), dir(net), type(net)
    topography = Topography(net, "grid2d")
    with topography:
        assert _hooks(net) == 3
        logits = net(_images())
    assert _hooks(net) == 0
    (F.cross_entropy(logits, LABELS) + topography.loss()).backward()
    assert list(net.state_dict()) == keys
    assert dir(net) == names
    assert type(net) is kind
    # nothing is caught outside
    net(_images())
    with pytest.raises(InputError, match="left no output"):
        topography.value()


def test_the_model_is_the_same_function_with_and_without() -> None:
    net = _net()
    with Topography(net, "grid2d"):
        within = net(_images())
    assert torch.equal(within, net(_images()))


def test_an_error_in_the_model_leaves_no_hook() -> None:
    net = _net()
    topography = Topography(net, "grid2d")
    with pytest.raises(RuntimeError), topography:
        net(torch.zeros(1, 7, 6, 6))
    assert _hooks(net) == 0
    with topography:
        net(_images())
    assert topography.value() > 0


def test_outputs_are_let_go_of() -> None:
    """Once the loss is made and its gradient taken, what the layers put out can be freed."""
    net, seen = _net(), list[weakref.ref[Tensor]]()
    handle = net.first.register_forward_hook(lambda _module, _inputs, output: seen.append(weakref.ref(output)))
    topography = Topography(net, "grid2d", layers=["first"])
    with topography:
        logits = net(_images())
    handle.remove()
    gc.collect()
    assert seen[0]() is not None
    loss = topography.loss() + logits.sum()
    loss.backward()
    del logits, loss
    gc.collect()
    assert seen[0]() is None
    # without a gradient they are free at once
    handle = net.first.register_forward_hook(lambda _module, _inputs, output: seen.append(weakref.ref(output)))
    with torch.no_grad(), topography:
        net(_images())
        topography.value()
    handle.remove()
    gc.collect()
    assert seen[1]() is None


def test_each_loss_needs_a_forward_pass_of_its_own() -> None:
    net = _net()
    topography = Topography(net, "grid2d")
    with pytest.raises(InputError, match=r"^layer 'first' left no output: run the model within 'with topography:'"):
        topography.loss()
    with topography:
        net(_images())
    topography.value()
    with pytest.raises(InputError, match=r"^layer 'first' left no output: .*, once for each loss, a compiled model"):
        topography.value()
    # an old output is not taken for a new one
    with topography:
        net(_images())
    with topography:
        net.first(_images())
    with pytest.raises(InputError, match=r"layer 'blocks\.0' left no output"):
        topography.value()


def test_in_an_evaluation_there_is_a_value_and_no_gradient() -> None:
    net = _net()
    topography = Topography(net, "grid2d")
    with topography, torch.no_grad():
        net(_images())
    evaluated = topography.value()
    assert not evaluated.requires_grad
    with topography:
        net(_images())
    assert torch.equal(topography.value(), evaluated)
    for parameter in net.first.parameters():
        parameter.requires_grad_(False)
    frozen = Topography(net, "grid2d", layers="first")
    with frozen:
        net(_images())
    assert not frozen.value().requires_grad  # nor is there one to be had in a frozen layer


def test_one_context_within_another_is_said() -> None:
    net = _net()
    topography = Topography(net, "grid2d")
    with pytest.raises(InputError, match="one 'with' within another"), topography, topography:
        pass
    assert _hooks(net) == 0
    with topography:
        net(_images())
    assert topography.value() > 0


def test_an_output_from_before_an_error_does_not_count() -> None:
    net = _net()
    topography = Topography(net, "grid2d", layers="first")
    with pytest.raises(ZeroDivisionError), topography:  # noqa: PT012
        net(_images())
        _ = 1 / 0
    with pytest.raises(InputError, match="left no output"):
        topography.value()


def test_a_linear_layer_in_a_sequence() -> None:
    """Its output is (N, T, C): each of its T places is a position, as those of an image are."""
    torch.manual_seed(0)
    layer, words = nn.Linear(3, 9), torch.randn(4, 5, 3)
    for loss, by_hand in (("channel", channel_loss), ("as_global", global_similarity)):
        topography = Topography(nn.Sequential(layer), "grid2d", loss=loss, layers="0")
        with topography:
            layer(words)
        expected = by_hand(layer(words).transpose(1, 2), _target("grid2d", 9))
        assert topography.value().item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_layer_without_a_single_output_is_said() -> None:
    topography = Topography(nn.Sequential(nn.LSTM(3, 4)), "grid2d", layers=["0"])
    with pytest.raises(InputError, match=r"layer '0' \(LSTM\) has no single tensor as its output"), topography:
        nn.Sequential.forward(nn.Sequential(topography.layers["0"]), torch.zeros(2, 1, 3))


def test_the_last_of_several_forward_passes_counts() -> None:
    net = _net()
    topography = Topography(net, "grid2d")
    with topography:
        net(_images(7))
        net(_images(1))
    found = topography.value()
    with topography:
        net(_images(1))
    assert torch.equal(found, topography.value())


def _copied(pair: tuple[Net, Topography]) -> tuple[Net, Topography]:
    return copy.deepcopy(pair)


def _pickled(pair: tuple[Net, Topography]) -> tuple[Net, Topography]:
    again: tuple[Net, Topography] = pickle.loads(pickle.dumps(pair))
    return again


@pytest.mark.parametrize("again", [_copied, _pickled])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("used", [False, True])
def test_model_and_topography_can_be_copied(
    again: Callable[[tuple[Net, Topography]], tuple[Net, Topography]], loss: str, used: bool
) -> None:
    net = _net()
    topography = Topography(net, "sheet", loss=loss, layers=["hidden"], weight=0.5)
    if used:
        with topography:
            net(_images())
        topography.loss().backward()
        topography.arrange("hidden", torch.arange(9).flip(0))
        with topography:
            net(_images())
        topography.value()
    other, its = again((net, topography))
    values = []
    for model, one in ((net, topography), (other, its)):
        with one:
            model(_images())
        values.append(one.loss())
    assert torch.equal(*values)
    assert its.layers["hidden"] is other.hidden
    assert its.layers["hidden"] is not net.hidden
    values[1].backward()
    assert other.hidden.weight.grad is not None
    assert isinstance(copy.deepcopy(net), Net)
    assert isinstance(pickle.loads(pickle.dumps(topography)), Topography)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("loss", ["channel", "as", "ws"])
def test_a_compiled_model(loss: str) -> None:
    """Within the context from its first run on; steps without the context between leave nothing."""
    torch.compiler.reset()
    net, twin = _net(), _net()
    compiled: Any = torch.compile(net, backend="aot_eager")
    topography = Topography(net, "grid2d", loss=loss, layers=["first", "hidden"])
    plain = Topography(twin, "grid2d", loss=loss, layers=["first", "hidden"])
    for step in range(3):
        gradients = []
        for model, module, one in ((compiled, net, topography), (twin, twin, plain)):
            module.zero_grad()
            with one:
                logits = model(_images(step))
            value = one.value()
            (F.cross_entropy(logits, LABELS) + value).backward()
            gradients.append([value.detach(), *(parameter.grad for parameter in module.parameters())])
        for mine, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
        with torch.no_grad():
            compiled(_images(9))
        if loss != "ws":
            with pytest.raises(InputError, match="left no output"):
                topography.value()


def test_the_weight_may_change_between_steps() -> None:
    net = _net()
    topography = Topography(net, "grid2d")
    found = []
    for weight in (1.0, 0.25, 0.0):
        topography.weight = weight
        with topography:
            net(_images())
        found.append(topography.loss().item())
    assert found == pytest.approx([found[0], found[0] / 4, 0])


@pytest.mark.parametrize("loss", LOSSES)
def test_under_autocast(loss: str) -> None:
    """The layers run in bfloat16, the loss in float32; also where the loss is made within autocast."""
    net = _net()
    topography = Topography(net, "sheet", loss=loss, layers=["first", "hidden"])
    values = []
    for within in (False, True):
        net.zero_grad()
        with topography, torch.autocast("cpu", dtype=torch.bfloat16):
            net(_images())
            value = topography.value() if within else None
        value = topography.value() if value is None else value
        assert value.dtype == torch.float32
        value.backward()
        assert net.hidden.weight.grad is not None
        assert net.hidden.weight.grad.isfinite().all()
        values.append(value.item())
    assert values[0] == values[1]
    with topography:
        net(_images())
    assert values[0] == pytest.approx(topography.value().item(), rel=0.05, abs=0.02)


def test_double_precision() -> None:
    """The same topography for a model in float32 and later in float64: each time in the model's own precision."""
    net = _net()
    topography = Topography(net, "grid3d", layers=["hidden"])
    with topography:
        net(_images())
    single = topography.value()
    net.double()
    with topography:
        net(_images().double())
    double = topography.value()
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    exact = target_similarity(positions("grid3d", 9))
    expected = channel_loss(_outputs(net, _images().double())["hidden"], exact)
    assert double.item() == pytest.approx(expected.item(), rel=1e-13)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
@pytest.mark.parametrize("loss", LOSSES)
def test_a_model_that_moves(loss: str) -> None:
    net = _net()
    topography = Topography(net, "sheet", loss=loss, layers=["first", "hidden"])
    values = []
    for device in ("cpu", "cuda", "cpu"):
        net.to(device)
        with topography:
            net(_images().to(device))
        value = topography.value()
        assert value.device.type == device
        values.append(value.item())
    assert values[1] == pytest.approx(values[0], rel=1e-3)
    assert values[2] == values[0]


def test_a_layer_of_one_channel_has_no_loss() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 3))
    for loss in ("channel", "ws", "as", "as_global"):
        topography = Topography(net, "grid2d", loss=loss)
        with topography:
            net(_images())
        assert topography.value().item() == 0


@pytest.mark.parametrize("loss", [name for name, entry in LOSSES.items() if entry.affinity])
@pytest.mark.parametrize("anew", [False, True])
def test_other_positions_lower_the_loss(loss: str, anew: bool) -> None:
    net = _net(16)
    topography = Topography(net, "grid2d", loss=loss, layers=["first", "hidden"])

    def value() -> float:
        with topography:
            net(_images(3, size=20))
        return topography.value().item()

    before = value()
    with topography:
        net(_images(3, size=20))
    rounds = topography.rearrange(anew=anew)
    after = value()
    assert [one["layer"] for one in rounds] == ["first", "hidden"]
    assert sum(one["loss_before"] for one in rounds) == pytest.approx(before, rel=1e-6)
    assert sum(one["loss_after"] for one in rounds) == pytest.approx(after, rel=1e-6)
    assert after < before
    for one in rounds:
        assert one["loss_after"] <= one["loss_before"] + 1e-6
        assert sorted(one["permutation"]) == list(range(len(one["permutation"])))
        assert one["moved"] == sum(place != channel for channel, place in enumerate(one["permutation"]))
        assert topography.permutations[one["layer"]].tolist() == one["permutation"]
        places = positions("grid2d", len(one["permutation"]))
        assert torch.equal(topography.positions(one["layer"], len(places)), places[one["permutation"]])
    # another round of swaps finds nothing more
    with topography:
        net(_images(3, size=20))
    again = topography.rearrange()
    assert [one["moved"] for one in again] == [0, 0]
    assert [one["permutation"] for one in again] == [one["permutation"] for one in rounds]


def test_rearranging_leaves_no_gradient_and_reads_a_forward_pass() -> None:
    net = _net(16)
    topography = Topography(net, "grid2d", layers=["hidden"])
    with pytest.raises(InputError, match="left no output"):
        topography.rearrange()
    with topography:
        net(_images())
    topography.rearrange()
    assert all(one.grad is None for one in net.parameters())
    with pytest.raises(InputError, match="left no output"):
        topography.value()
    with topography:
        net(_images())
    topography.loss().backward()  # and training goes on
    assert net.hidden.weight.grad is not None


def test_a_loss_that_is_no_sum_over_pairs_is_not_rearranged() -> None:
    topography = Topography(_net(), "sheet", loss="laplacian", layers=["hidden"])
    with pytest.raises(InputError, match="this loss is no sum over pairs of channels: positions cannot be learned"):
        topography.rearrange()


def test_given_positions_count_from_then_on() -> None:
    net = _net()
    topography = Topography(net, "line", layers=["hidden"])
    order = torch.tensor([8, 0, 7, 1, 6, 2, 5, 3, 4])
    hidden = _outputs(net, _images())["hidden"]
    for permutation in (None, order, torch.arange(9)):
        if permutation is not None:
            topography.arrange("hidden", permutation)
        with topography:
            net(_images())
        aim = _target("line", 9)
        aim = aim if permutation is None else aim[permutation][:, permutation]
        assert topography.value().item() == pytest.approx(channel_loss(hidden, aim).item(), rel=1e-6)
