"""A study's methods in prose, as a paper's section has them, from its resolved study file."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from topotune.config import NONE, SETTINGS
from topotune.losses import LOSSES
from topotune.report.asked import values_in_words
from topotune.report.wording import listed, number
from topotune.topography import arrangement_of

LOSS_WORDS = {
    "channel": "the mean squared difference between the cosine similarity of two channels’ outputs and 1/(d + 1), "
    "where d is the distance of their positions (Poli et al., 2022)",
    "ws": "the mean Euclidean distance of neighbouring units’ incoming weights (Truong & Hasson, 2025)",
    "ws_cosine": "the mean cosine distance of neighbouring units’ incoming weights (after Truong & Hasson, 2025)",
    "ws_pearson": "one minus the mean Pearson correlation of neighbouring units’ weights (after Truong & Hasson, 2025)",
    "as": "one minus the mean Pearson correlation of neighbouring units’ activations over a batch (after Truong & "
    "Hasson, 2025)",
    "as_relu": "one minus the mean Pearson correlation of neighbouring units’ rectified activations over a batch "
    "(after Truong & Hasson, 2025)",
    "as_global": "the mean squared difference between the cosine similarity of two units’ activations over a batch and "
    "1/(d + 1), where d is the distance of their positions",
    "laplacian": "one minus the mean cosine similarity of each unit’s weights and those of the blurred sheet (Deb et "
    "al., 2025)",
}
SAMPLER_WORDS = {
    "tpe": "the tree-structured Parzen estimator", "gp": "a Gaussian process", "cmaes": "CMA-ES", "nsga2": "NSGA-II",
    "nsga3": "NSGA-III", "random": "random search", "quasirandom": "quasi-random search",
    "grid": "every configuration once",
}  # fmt: skip
PRUNER_WORDS = {
    "successive_halving": "asynchronous successive halving (Li et al., 2020)",
    "hyperband": "Hyperband (Li et al., 2018)",
    "median": "the median rule", "percentile": "a percentile rule", "patient": "a rule of patience",
    "threshold": "thresholds",
}  # fmt: skip
CRITERION_WORDS = {
    "l2": "the lowest L2 norm of their weights", "l1": "the lowest L1 norm of their weights",
    "random": "chosen at random", "neighbour": "the closest likeness to a neighbour",
}  # fmt: skip

PERTURBATION_WORDS = {
    "weight": "multiplicative Gaussian noise on the weights of the topographic layers",
    "quantisation": "quantisation of the weights of these layers", "white": "white noise (Truong & Hasson, 2025)",
    "pink": "pink noise (Truong & Hasson, 2025)", "salt_and_pepper": "salt-and-pepper noise (Truong & Hasson, 2025)",
    "fgsm": "the fast gradient sign method (Goodfellow et al., 2015)",
    "pgd": "20 steps of projected gradient descent (Madry et al., 2018)",
}  # fmt: skip
# those of ImageNet-C and CIFAR-10-C
CORRUPTIONS = {
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
}  # fmt: skip
ANALYSIS_WORDS = {
    "correlation": "the correlation of their responses against distance",
    "bimodality": "the bimodality of these correlations",
    "localisation": "the mean distance of units that correlate (Truong & Hasson, 2025)",
    "moran": "Moran’s I of their responses (Moran, 1950; Truong & Hasson, 2025)",
    "dimensionality": "the participation ratio of responses and weights",
    "sensitivity": "the variance of their responses over images",
    "experts": "how well each tells one class from the rest (AUROC, d′)",
    "orientation": "their tuning to the orientation of gratings",
    "symmetry": "the correlation of responses to images and their mirror images",
    "eccentricity": "the response to spots at growing distance from the centre",
    "maps": "the smoothness of weight and response maps",
    "similarity": "the similarity of representations (RSA, Kriegeskorte et al., 2008; linear CKA, Kornblith et al., "
    "2019, by its unbiased estimate, Nguyen et al., 2021)",
}


class Ran(NamedTuple):
    """What came after a search: whether models were confirmed and pruned, the perturbations that they were tried under,
    the analyses that were made of them, and the settings of these."""

    confirmed: bool = False
    pruned: bool = False
    tried: tuple[str, ...] = ()
    analysed: tuple[str, ...] = ()
    settings: str = ""


def paragraphs(asked: Mapping[str, Any], versions: Mapping[str, str], ran: Ran) -> list[str]:
    """The methods of a study. ``asked``: its file. ``versions``: of packages, by name."""
    found = [_training(asked), _topography(asked), _search(asked, versions)]
    if ran.confirmed:
        found.append(_confirmation(asked))
    if ran.pruned:
        found.append(_pruning(asked))
    if ran.tried:
        found.append(_robustness(ran.tried))
    if ran.analysed:
        found.append(_analysis(ran.analysed, ran.settings))
    return found


def _of(asked: Mapping[str, Any], name: str) -> Any:
    """A setting of the trials: a constant, what is searched of it, or its default."""
    for role in ("fixed", "scientific", "nuisance"):
        if name in asked.get(role, {}):
            return asked[role][name]
    return SETTINGS[name].default


def _told(asked: Mapping[str, Any], name: str) -> str:
    return values_in_words(_of(asked, name))


def choices(asked: Mapping[str, Any], name: str) -> list[str]:
    """The values of a setting that has names for values, where they are listed."""
    value = _of(asked, name)
    cases = value if isinstance(value, list) else [value]
    found: list[str] = []
    for case in cases:
        own = case.get("choices", []) if isinstance(case, dict) else [case]
        found += [str(one) for one in own if str(one) not in found]
    return found


def _training(asked: Mapping[str, Any]) -> str:
    schedule = _told(asked, "schedule")
    rate = f"learning rate {_told(asked, 'learning_rate')}"
    adam = _of(asked, "optimizer") == "adam"
    optimiser = "Adam" if adam else f"stochastic gradient descent with momentum {_told(asked, 'momentum')}"
    if _of(asked, "optimizer") not in ("adam", "sgd"):
        optimiser = f"optimiser {_told(asked, 'optimizer')}"
    warm = number(_of(asked, "warmup"))
    over = "a constant rate" if schedule == "constant" else (
        f"a linear warm-up over the first {warm} of the training and cosine decay to zero, stepped every {schedule}"
    )  # fmt: skip
    return (
        f"We trained {_told(asked, 'model')} on {_told(asked, 'dataset')} for {_told(asked, 'epochs')} epochs with "
        f"{optimiser}, {rate}, weight decay {_told(asked, 'weight_decay')} and batches of {_told(asked, 'batch_size')}"
        f", with {over}. The epoch of the best validation accuracy was kept."
    )


def _topography(asked: Mapping[str, Any]) -> str:
    names = [name for name in choices(asked, "topography") if name != NONE]
    if not names:
        return "No topographic loss was used."
    losses = [name for name in choices(asked, "loss") if name in LOSSES]
    told = "; ".join(LOSS_WORDS[name] for name in losses)
    ways = {arrangement_of(name)[1] for name in names}
    learned = " Learned positions were exchanged between channels where that lowered the loss." * ("learned" in ways)
    assigned = (
        " Assigned positions were given to the channels of a trained control, by quadratic assignment."
        * ("assigned" in ways)
    )  # fmt: skip
    over = {"sum": "summed", "mean": "averaged"}.get(str(_of(asked, "layer_reduction")), "summed or averaged")
    return (
        f"Channels were given positions ({', '.join(names)}), and a topographic loss was added to the task’s with "
        f"weight λ ({_told(asked, 'weight')}): {told}. The losses of the topographic layers (layers: "
        f"{_told(asked, 'layers')}) were {over}. Networks without the loss were the control.{learned}{assigned}"
    )


def _search(asked: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    study, budget = asked.get("study", {}), asked.get("budget", {})
    sampler = SAMPLER_WORDS.get(study.get("sampler", "tpe"), str(study.get("sampler")))
    pruner = study.get("pruner", "successive_halving")
    stopped = "No trial was stopped early" if pruner == "none" else (
        f"Trials were stopped early by {PRUNER_WORDS.get(pruner, pruner)}, after {budget.get('min_epochs', 1)} epochs "
        "at the earliest"
    )  # fmt: skip
    metric = asked.get("objective", {}).get("metric", "validation_accuracy")
    what = " and ".join(one.replace("_", " ") for one in ([metric] if isinstance(metric, str) else metric))
    tuned = ", ".join(
        f"{name.replace('_', ' ')} ({values_in_words(value)})" for name, value in asked.get("nuisance", {}).items()
    )
    also = f" and, so that the comparison is fair, of {tuned}" if tuned else ""
    packages = ", ".join(
        f"{shown} {versions[name]}"
        for name, shown in (("optuna", "Optuna"), ("ray", "Ray Tune"), ("torch", "PyTorch"))
        if name in versions
    )
    return (
        f"We searched for the topography and λ{also} that give the best {what}, over {budget.get('trials', 0)} trials "
        f"suggested by {sampler}. {stopped}. "
        f"Only training and validation data were used{f' ({packages})' if packages else ''}."
    )


def _confirmation(asked: Mapping[str, Any]) -> str:
    seeds = asked.get("confirm", {}).get("seeds", 0)
    return (
        f"The best configuration of each topography was trained anew with {seeds} seed{'s' * (seeds != 1)} that the "
        "search had not used, and tested once. Differences from the control are paired by seed; 95% intervals are of "
        "Student’s t, and p values are corrected for the number of topographies (Holm, 1979)."
    )


def _pruning(asked: Mapping[str, Any]) -> str:
    prune = asked.get("prune", {})
    criteria = prune.get("criterion", "l2")
    told = "; ".join(CRITERION_WORDS.get(one, one) for one in ([criteria] if isinstance(criteria, str) else criteria))
    layers = "every convolution" if prune.get("scope") == "all" else "each topographic layer, of the control too,"
    tuned = prune.get("finetune_epochs", 0)
    after = f"after {tuned} epochs of further training" if tuned else "without further training"
    return (
        f"For pruning, a share of the output channels of {layers} was set to zero (those with {told}), and the "
        f"networks were tested {after}."
    )


def _robustness(tried: Sequence[str]) -> str:
    told = [PERTURBATION_WORDS.get(name, name.replace("_", " ")) for name in tried if name not in CORRUPTIONS]
    if corruptions := [name.replace("_", " ") for name in tried if name in CORRUPTIONS]:
        told.append(f"corruptions of the images ({', '.join(corruptions)}; Hendrycks & Dietterich, 2019)")
    return (
        f"For robustness, the confirmed networks were tested under {listed(told)}, at each of several levels. What is "
        "compared is the mean accuracy over the levels, paired by seed; p values are corrected for the number of "
        "topographies and perturbations (Holm, 1979)."
    )


def _analysis(analysed: Sequence[str], settings: str) -> str:
    told = [ANALYSIS_WORDS[name] for name in ANALYSIS_WORDS if name in analysed]
    return (
        f"We looked at the units of the confirmed networks by {listed(told)}. Measures of positions were compared with "
        "those of randomly permuted ones, and with those of the control on positions that were assigned to it "
        f"afterwards by the correlations of its units ({settings})."
    )
