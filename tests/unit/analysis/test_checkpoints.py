"""Several checkpoints and one table: who is studied where, what is similar, and going on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from topotune.analysis.analyses import Settings
from topotune.analysis.checkpoints import analyse_checkpoints
from topotune.analysis.models import Asked, models_of
from topotune.config import TrialConfig
from topotune.errors import InputError
from topotune.files import read_arrays, read_csv
from topotune.folder import ANALYSIS_COLUMNS
from topotune.load import Checkpoints
from topotune.show import analysis_text
from topotune.training.fit import fit

Quick = Callable[..., TrialConfig]
QUICK = Settings(images=60, permutations=20)


@pytest.fixture(scope="module")
def trained(quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("trained")
    for name, changes in (
        ("none", {"topography": "none", "weight": 0.0}), ("ws", {"loss": "ws"}),
        ("none-1", {"topography": "none", "weight": 0.0, "seed": 1}),
    ):  # fmt: skip
        fit(quick(**({"model": "mnist_cnn", "epochs": 1} | changes)), folder / name)
    return {path.name: path for path in folder.iterdir()}


def test_controls_are_studied_where_the_others_are(trained: dict[str, Path]) -> None:
    """In their layers, on their positions and on the best that can be found for a control."""
    control, topographic = models_of([trained["none"], trained["ws"]], Asked(), None)
    assert control.layers == topographic.layers == ("fc1",)
    assert control.views == ("grid2d", "grid2d-assigned")
    assert topographic.views == ("grid2d",)
    (control,) = models_of([trained["none"]], Asked(organisations=("circle",)), None)
    assert control.layers == ("conv1", "conv2")
    assert control.views == ("circle", "circle-assigned")
    (control,) = models_of([trained["none"]], Asked(layers="fc1"), None, compared=["none", "line-learned"])
    assert (control.layers, control.views) == (("fc1",), ("line", "line-assigned"))


def test_wrong_input(trained: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none is a control, which has no positions: name an organisation with --topo"):
        models_of([trained["none"]], Asked(), None)
    with pytest.raises(InputError, match="--topography: is for controls, and there is none among these"):
        models_of([trained["ws"]], Asked(organisations=("circle",)), None)
    with pytest.raises(InputError, match="no layer matches 'fc7'"):
        models_of([trained["ws"]], Asked(layers="fc7"), None)
    for out in (tmp_path / "no" / "rows.csv", tmp_path / "rows.txt"):
        with pytest.raises(InputError, match=r"must be a file called \.csv in a folder that there is"):
            analyse_checkpoints(Checkpoints([str(trained["ws"])], out), Asked(), print)
    with pytest.raises(InputError, match=r"ws holds the same weights as .*ws"):
        analyse_checkpoints(Checkpoints([str(trained["ws"])] * 2, tmp_path / "rows.csv"), Asked(), print)
    assert list(tmp_path.iterdir()) == []


def test_one_table_goes_on(trained: dict[str, Path], tmp_path: Path) -> None:
    """In two steps as in one; what is there is not computed again."""
    said = list[str]()

    def analyse(names: tuple[str, ...], out: str, *which: str) -> None:
        asked, locations = Asked(names, settings=QUICK), [str(trained[name]) for name in which]
        analyse_checkpoints(Checkpoints(locations, tmp_path / out), asked, said.append)

    analyse((), "whole.csv", "none", "ws", "none-1")
    assert [one.rpartition("/")[2].partition(",")[0] for one in said] == [
        "none: 1 of 3", "ws: 2 of 3", "none-1: 3 of 3"
    ]  # fmt: skip
    whole = read_csv(tmp_path / "whole.csv")
    analyse(("moran", "similarity"), "parts.csv", "none", "ws")
    analyse(("symmetry",), "parts.csv", "none", "ws")
    assert said[-2:] == [f"{trained['none']}: 1 of 2, symmetry", f"{trained['ws']}: 2 of 2, symmetry"]
    analyse((), "parts.csv", "none", "ws", "none-1")
    assert read_csv(tmp_path / "parts.csv") == whole
    analyse((), "parts.csv", "none", "ws", "none-1")
    assert said[-1] == f"nothing to do, 3 models are analysed with {QUICK.words}"
    assert tuple(whole[0]) == ANALYSIS_COLUMNS
    pairs = {(row["weights"], row["other"]) for row in whole if row["other"]}
    assert len(pairs) == 6, "each two from either side"
    assert {row["positions"] for row in whole if row["topography"] == "none"} == {None, "grid2d", "grid2d-assigned"}
    keys = [tuple(row[name] for name in ANALYSIS_COLUMNS[1:11]) for row in whole]
    assert len(set(keys)) == len(keys)
    found = read_arrays(tmp_path / "whole" / f"{whole[0]['weights']}.npz")
    assert found["fc1/orientation"].shape == (121,)
    assert found["fc1/positions/grid2d-assigned"].shape == (121, 2)


def test_what_a_person_reads(trained: dict[str, Path], tmp_path: Path) -> None:
    """Means over the seeds, one measure's models below one another."""
    asked = Asked(("moran", "correlation"), settings=QUICK)
    locations = [str(trained[name]) for name in ("none", "ws", "none-1")]
    rows = analyse_checkpoints(Checkpoints(locations, tmp_path / "rows.csv"), asked, lambda _text: None)
    header, *lines = analysis_text(rows).splitlines()
    assert header.split()[:7] == ["layer", "analysis", "measure", "topography", "loss", "λ", "positions"]
    (_first, _second, third) = (line for line in lines if " moran " in line)
    assert third.split()[:7] == ["fc1", "moran", "responses", "grid2d", "ws", "0.1", "grid2d"]
    one, other = (row["value"] for row in rows if row["analysis"] == "moran" and row["positions"] == "grid2d-assigned")
    line = next(line for line in lines if " moran " in line and "grid2d-assigned" in line)
    assert line.split()[5:8] == ["grid2d-assigned", "2", f"{(one + other) / 2:.3g}"]
    assert line.endswith("*")
    assert " r " not in analysis_text(rows)  # of each distance one: in the table only
