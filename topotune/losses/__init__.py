"""Topographic losses: each makes channels, or units, that sit close respond alike or weigh alike."""

from dataclasses import dataclass

from topotune.errors import InputError
from topotune.topography import POSITIONS, arrangement_of


@dataclass(frozen=True)
class LossEntry:
    """One topographic loss of a layer: a scalar, float32 or float64, of what it reads and where the channels sit.

    function: path of a function (tensor, geometry) -> loss.
    reads: ``outputs``, a layer's output (N, C, *spatial), or ``weights``, its weights (C, ...).
    geometry: what is made of the positions: ``targets`` (C, C), ``neighbours`` (2, K) or ``sheet`` (h, w).
    ready: path of a function that prepares a geometry for many steps, where there is something to prepare.
    affinity: path of a function (tensor) -> (C, C), with which channels can be given positions: the loss falls as
        the sum over pairs of affinity times closeness rises. None where a loss is no sum over pairs.
    """

    function: str
    reads: str
    geometry: str
    ready: str | None = None
    affinity: str | None = None

    @property
    def organisations(self) -> tuple[str, ...]:
        """The organisations that have what this loss needs: neighbours on a lattice only, a full sheet on ``sheet``."""
        if self.geometry == "sheet":
            return ("sheet",)
        return tuple(name for name, one in POSITIONS.items() if self.geometry == "targets" or one.lattice)


_NEAR, _FAR = "topotune.losses.neighbours", "topotune.losses.channel"

LOSSES: dict[str, LossEntry] = {
    # Poli, Dupoux & Riad (2022)
    "channel": LossEntry(f"{_FAR}:channel_loss", "outputs", "targets", f"{_FAR}:ready", f"{_FAR}:channel_similarity"),
    # Truong & Hasson (arXiv 2508.00043)
    "ws": LossEntry(f"{_NEAR}:weight_similarity", "weights", "neighbours", affinity=f"{_NEAR}:weight_affinity"),
    "ws_cosine": LossEntry(f"{_NEAR}:weight_cosine", "weights", "neighbours", affinity=f"{_NEAR}:weight_cosines"),
    "ws_pearson": LossEntry(
        f"{_NEAR}:weight_pearson", "weights", "neighbours", affinity=f"{_NEAR}:weight_correlations"
    ),
    "as": LossEntry(f"{_NEAR}:activation_similarity", "outputs", "neighbours", affinity=f"{_NEAR}:correlations"),
    "as_relu": LossEntry(
        f"{_NEAR}:rectified_similarity", "outputs", "neighbours", affinity=f"{_NEAR}:rectified_correlations"
    ),
    "as_global": LossEntry(f"{_NEAR}:global_similarity", "outputs", "targets", affinity=f"{_NEAR}:cosines"),
    # TopoLoss, Deb et al. (2025)
    "laplacian": LossEntry("topotune.losses.smoothness:laplacian_loss", "weights", "sheet"),
}

LAYER_REDUCTIONS = ("sum", "mean")

STRENGTHS = ("fixed", "ratio")

WEIGHT_SCHEDULES = ("constant", "linear", "cosine", "warmup")


def check_organisation(loss: str, topography: str) -> None:
    """Whether a topography has what a loss needs.

    Raises:
        InputError: it has not.
    """
    entry, (organisation, _arrangement) = LOSSES[loss], arrangement_of(topography)
    if organisation not in entry.organisations:
        raise InputError(
            f"topography {topography!r} has no {entry.geometry} for the loss {loss!r}; choose from "
            f"{', '.join(entry.organisations)}"
        )
