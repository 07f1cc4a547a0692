"""Topographic losses: each makes channels that sit close respond alike."""

# name -> function (activations (N, C, *spatial), target (C, C)) -> scalar
LOSSES: dict[str, str] = {
    "channel": "topotune.losses.channel:channel_loss",
}

LAYER_REDUCTIONS = ("sum", "mean")
