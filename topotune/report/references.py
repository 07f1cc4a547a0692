"""What a paper on a study should cite, in BibTeX: by the names in the study's file."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from topotune.report.methods import CORRUPTIONS, Ran, choices

# what a study uses -> the key of its entry in references.bib
_ALWAYS = ("paszke2019", "akiba2019", "liaw2018", "zaharia2018")
_OF_LOSSES = {
    "channel": "poli2022", "ws": "truong2025", "ws_cosine": "truong2025", "ws_pearson": "truong2025",
    "as": "truong2025", "as_relu": "truong2025", "as_global": "truong2025", "laplacian": "deb2025",
}  # fmt: skip
_OF_DATA = {
    "digits": "pedregosa2011", "mnist": "lecun1998", "cifar10": "krizhevsky2009", "cifar10_8020": "krizhevsky2009",
    "cifar100": "krizhevsky2009", "speechcommands": "warden2018", "birddcase": "stowell2019",
}  # fmt: skip
_OF_MODELS = {"resnet18": "he2016", "vgg16": "simonyan2015", "densenet121": "huang2017"}
_OF_SAMPLERS = {"tpe": "bergstra2011", "cmaes": "hansen2001", "nsga2": "deb2002", "nsga3": "deb2014"}
_OF_PRUNERS = {"successive_halving": "li2020", "hyperband": "li2018"}
_OF_PERTURBATIONS = {
    **dict.fromkeys(("white", "pink", "salt_and_pepper"), "truong2025"), "fgsm": "goodfellow2015", "pgd": "madry2018",
    **dict.fromkeys(CORRUPTIONS, "hendrycks2019"),
}  # fmt: skip
_OF_ANALYSES = {
    "localisation": ("truong2025",), "moran": ("moran1950", "truong2025"),
    "similarity": ("kriegeskorte2008", "kornblith2019", "nguyen2021"),
}  # fmt: skip


def bibtex(asked: Mapping[str, Any], ran: Ran) -> str:
    """The entries for a study. ``asked``: its file; ``ran``: what came after the search."""
    study = asked.get("study", {})
    wanted = ["poli2022"]  # organisations and control are theirs, whatever the loss
    for name, table in (("loss", _OF_LOSSES), ("dataset", _OF_DATA), ("model", _OF_MODELS)):
        wanted += [table[one] for one in choices(asked, name) if one in table]
    wanted += [_OF_SAMPLERS[one] for one in (study.get("sampler", "tpe"),) if one in _OF_SAMPLERS]
    wanted += [_OF_PRUNERS[one] for one in (study.get("pruner", "successive_halving"),) if one in _OF_PRUNERS]
    wanted += [*_ALWAYS, *(["holm1979"] * ran.confirmed)]
    wanted += [_OF_PERTURBATIONS[one] for one in ran.tried if one in _OF_PERTURBATIONS]
    wanted += [key for one in ran.analysed for key in _OF_ANALYSES.get(one, ())]
    known = entries()
    return "\n\n".join(known[key] for key in dict.fromkeys(wanted))


def entries() -> dict[str, str]:
    """Every entry of references.bib, by its key."""
    text = files("topotune.report").joinpath("references.bib").read_text(encoding="utf-8")
    return {one.partition("{")[2].partition(",")[0]: one for one in text.strip().split("\n\n")}
