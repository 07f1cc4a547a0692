"""What is done once: samples that normalising leaves as they are, and nothing of it where there are clips."""

from dataclasses import replace

import torch

from topotune.data.batches import evaluation_batches
from topotune.data.splits import load_split
from topotune.followup.ahead import split_ahead
from topotune.models.topographic import build_model
from topotune.training.device import Precision
from topotune.training.loop import evaluate

FLOAT32 = Precision(torch.device("cpu"), bfloat16=False)


def test_the_rest_of_the_network_gives_the_same_of_what_came_out() -> None:
    torch.manual_seed(0)
    model, split = build_model("mnist_cnn", 1, 10), load_split("digits", "test")
    whole = evaluate(model, evaluation_batches(split, 100), FLOAT32)
    rest, tail = split_ahead(model, ["fc1"], split, lambda: evaluation_batches(split, 100), FLOAT32)
    assert rest.images.shape == (360, 64, 1, 1)
    assert evaluate(tail, evaluation_batches(rest, 100), FLOAT32) == whole
    assert tail.get_submodule("fc1") is model.get_submodule("fc1")


def test_a_first_layer_and_clips_leave_all_as_it_is() -> None:
    model, split = build_model("mnist_cnn", 1, 10), load_split("digits", "test")
    same = split_ahead(model, ["conv1"], split, lambda: evaluation_batches(split), FLOAT32)
    assert same == (split, model)
    clips = replace(split, clips=torch.zeros(360, 2, dtype=torch.int64))
    assert split_ahead(model, ["fc1"], clips, lambda: iter(()), FLOAT32) == (clips, model)
