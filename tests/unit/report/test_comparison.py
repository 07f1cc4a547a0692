"""Studies beside each other and beside the first paper's tables."""

from pathlib import Path

from tests.unit.report.conftest import MakeStudy
from topotune.files import write_json
from topotune.report import comparison, published
from topotune.report.page import write_report
from topotune.report.study import ReportStudy
from topotune.topography import POSITIONS


def test_a_row_a_study(make_study: MakeStudy) -> None:
    studies = [ReportStudy.read(make_study(stage, within=stage, name=stage)) for stage in ("prune", "search")]
    whole, searched = comparison.overview(studies).rows
    epochs, seconds = (sum(row[name] for row in studies[0].trials) for name in ("epochs", "seconds"))
    assert whole[:2] == ("prune", "digits with small_cnn")
    assert whole[3:] == ("60", f"{epochs:,}", f"{seconds / 3600:.3g}", "97.50 ± 0.20")
    assert searched[-1] == "–"
    assert whole[2].endswith("%")


def test_the_papers_order_with_others_before_the_control(make_study: MakeStudy) -> None:
    folder = make_study()
    summary = ReportStudy.read(folder).summary
    more = summary["confirm"][0] | {"topography": "grid2d-learned"}
    write_json(folder.summary, summary | {"confirm": [*summary["confirm"], more]})
    table = comparison.in_layout([ReportStudy.read(folder)])
    assert [row[0] for row in table.rows] == ["grid2d", "nested2d", "sphere", "grid2d-learned", "none"]
    assert comparison.beside_paper(ReportStudy.read(folder)).rows == ()  # of digits it has none
    assert comparison.in_layout([ReportStudy.read(make_study("search", within="b"))]).rows == ()


def test_the_papers_figures() -> None:
    """Corners of its tables, typed a second time."""
    assert set(published.ROWS) == {*POSITIONS, "none"} - {"line", "sheet"}
    assert published.accuracies("cifar10", "densenet121")["grid2d"] == (93.58, 0.21)
    assert published.accuracies("cifar100", "vgg16")["none"] == (72.82, 0.26)
    assert published.accuracies("speechcommands", "densenet121")["nested3d"] == (97.19, 0.10)
    assert published.accuracies("birddcase", "vgg16")["none"] == (82.49, 0.60)
    assert published.accuracies("digits", "small_cnn") == {}
    assert published.pruning({"dataset": "cifar10", "model": "vgg16"}) == {}


def test_studies_of_one_name_are_told_apart(make_study: MakeStudy, tmp_path: Path) -> None:
    folders = [make_study(within=within) for within in ("one", "two")]
    path = write_report([ReportStudy.read(folder) for folder in folders], tmp_path / "both.html")
    page = path.read_text(encoding="utf-8")
    for folder in folders:
        assert f">demo ({folder.path})</h2>" in page
        assert f'"demo ({folder.path}): grid2d"' in page  # a row of the plot of differences
