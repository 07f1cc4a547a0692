"""The page, read as a browser would read it: from each set of stages, with hostile names, and twice the same."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.unit.report.conftest import MakeStudy, write
from topotune.errors import InputError
from topotune.files import read_csv, read_json, write_csv, write_json
from topotune.folder import StudyFolder
from topotune.report.page import write_report
from topotune.report.study import ReportStudy

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Elements, text and table rows of a page; complains of elements that are not closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.text = ""
        self.told = ""
        self.feed(self.source)
        self.close()
        assert not self.open
        self.data: dict[str, Any] = json.loads(self.told)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        if "script" in self.open:
            if self.elements[-1][1].get("type") == "application/json":
                self.told += data
            return
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _page(folder: StudyFolder) -> Page:
    path = write(folder)
    assert path == folder.report
    return Page(path)


def _plots(page: Page) -> list[str]:
    """The plots' names; each has its place in the page and its data in the script."""
    names = [one["data-plot"] for one in page.all("div") if "data-plot" in one]
    assert set(names) == set(page.data)
    return sorted(names)


SEARCHED = ["history", "parallel", "settings", "weight"]


@pytest.mark.parametrize(
    ("stage", "plots"),
    [("search", []), ("confirm", ["confirmed", "differences"]), ("prune", ["confirmed", "differences", "pruning-1"])],
)
def test_a_page_from_the_stages_so_far(make_study: MakeStudy, stage: str, plots: list[str]) -> None:
    folder = make_study(stage)
    page = _page(folder)
    assert _plots(page) == sorted([*SEARCHED, *plots])
    assert not folder.figures.exists()
    assert ("Not run yet: topotune confirm demo" in page.text) == (stage == "search")
    assert ("Not run yet: topotune prune demo" in page.text) == (stage != "prune")


def test_the_numbers_of_a_whole_study(make_study: MakeStudy) -> None:
    folder = make_study()
    page = _page(folder)
    counts = read_json(folder.summary)["trials"]
    ended = ", ".join(f"{counts[state]} {state}" for state in ("complete", "pruned", "failed"))
    assert f"60 trials: {ended}." in page.text
    assert "grid2d with λ = 0.3: 0.80 percentage points above the control in test accuracy" in page.text
    assert "(95% interval +0.32 to +1.28, 3 seeds)" in page.text
    assert "sphere with λ = 0.3: no difference from the control found (+0.12 percentage points" in page.text
    assert "nested2d with λ = 0.3: 0.68 percentage points below the control" in page.text
    assert ["none", "–", "3", "97.50 ± 0.20", "–", "–"] in page.rows
    assert ["nested2d", "0.3", "3", "96.82 ± 0.20", "−0.68", "−1.16 to −0.20"] in page.rows
    # 0.95 + 0.01 · seed − 0.9 · 0.2³ over seeds 0, 1 and 2: mean 0.9528, deviation 0.01
    assert next(row for row in page.rows if row[:3] == ["none", "–", "3"] and len(row) == 8)[4] == "95.28 ± 1.00"
    assert ["scientific", "weight (λ)", "0.01 to 10.0, log scale"] in page.rows
    assert ["Git commit", "not recorded"] in page.rows
    assert ["Version of torch", "2.11.0"] in page.rows


def test_the_leaderboard_agrees_with_the_table_of_trials(make_study: MakeStudy) -> None:
    folder = make_study("search")
    complete = [row for row in read_csv(folder.trials_table) if row["state"] == "complete"]
    best = sorted(complete, key=lambda row: -float(row["validation_accuracy"]))[:10]
    board = [row for row in _page(folder).rows if len(row) == 9 and row[0] != "Rank"]
    assert [(row[1], row[6]) for row in board] == [
        (str(row["id"]), f"{100 * row['validation_accuracy']:.2f}") for row in best
    ]


def test_the_page_needs_nothing_beside_it(make_study: MakeStudy) -> None:
    folder = make_study()
    page = _page(folder)
    own = re.sub(r"<script>.*?</script>", "", page.source, flags=re.DOTALL)
    assert not re.search(r"""(src|href)\s*=\s*(?!"#)|url\(|@import""", own)
    assert not {tag for tag, _ in page.elements} & {"link", "iframe", "object", "base", "img"}
    assert folder.report.stat().st_size < 8 * 2**20


def test_only_the_pages_own_scripts_run(make_study: MakeStudy) -> None:
    page = _page(make_study())
    policy = next(one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    scripts = re.findall(r"<script>(.*?)</script>", page.source, flags=re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    assert policy.endswith("script-src " + " ".join(f"'sha256-{one}'" for one in digests))
    assert policy.startswith("default-src 'none';")
    assert len(scripts) == 2


def test_the_page_can_be_read_without_seeing_it(make_study: MakeStudy) -> None:
    page = _page(make_study())
    assert page.all("html") == [{"lang": "en"}]
    drawings = [one for one in page.all("div") if "data-plot" in one]
    assert all(one["role"] == "img" and one["aria-label"].endswith(".") for one in drawings)
    assert page.all("noscript")
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    headings = [tag for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert headings == ["h1", *["h2"] * 7]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {one["aria-labelledby"] for one in page.all("section")} == {one["id"] for one in page.all("h2")}


def test_names_are_text_and_no_markup(make_study: MakeStudy) -> None:
    name, description = """<script>alert(1)</script>""", """"><img src=x onerror=alert(2)> & {{ 7 * 7 }}"""
    folder = make_study(name=name, description=description)
    rows = [row | {"topography": "</script><b>"} if row["id"] % 2 else row for row in read_csv(folder.trials_table)]
    write_csv(folder.trials_table, list(rows[0]), rows)
    page = _page(folder)
    assert len(page.all("script")) == 3
    assert not page.all("img")
    assert not page.all("b")
    assert name in page.text
    assert description in page.text
    assert any(one["name"] == "</script><b>" for one in page.data["weight"]["data"])


def test_the_same_study_gives_the_same_page(make_study: MakeStudy) -> None:
    first, second = (write(make_study(within=within)).read_bytes() for within in ("one", "two"))
    assert first == second


def test_a_single_seed(make_study: MakeStudy) -> None:
    page = _page(make_study(seeds=1))
    assert ["grid2d", "0.3", "1", "98.30", "+0.80", "–"] in page.rows
    assert "+0.80 percentage points from the control in 1 seed; no interval: it takes two seeds." in page.text
    assert next(row for row in page.rows if row[0] == "grid2d" and len(row) == 8)[3] == "95.00"


@pytest.mark.parametrize("states", [["pruned"], ["failed"], ["pruned", "failed"]])
def test_no_trial_is_complete(make_study: MakeStudy, states: list[str]) -> None:
    folder = make_study("search", trials={"count": 12, "states": states})
    page = _page(folder)
    assert "No trial is complete." in page.text
    assert "No configuration can be called the best yet" in page.text
    assert _plots(page) == (["weight"] if "pruned" in states else [])
    assert ("No trial has a validation accuracy yet." in page.text) == (states == ["failed"])


@pytest.mark.parametrize(
    "trials", [{"weights": [0.3]}, {"count": 0}, {"count": 1, "states": ["complete"]}, {"names": ["none"]}]
)
def test_small_searches(make_study: MakeStudy, trials: dict[str, object]) -> None:
    page = _page(make_study("search", trials=trials))
    assert "What was searched" in page.text
    assert ("weight" in _plots(page)) == (trials.get("count") != 0)


def test_a_summary_that_says_next_to_nothing(make_study: MakeStudy) -> None:
    folder = make_study("confirm")
    write_json(folder.summary, {"study": "demo"})
    page = _page(folder)
    assert "60 trials: " in page.text
    assert "Not finished yet: topotune confirm demo" in page.text
    assert ["Study hash", "not recorded"] in page.rows


def test_a_broken_study_file_is_named(make_study: MakeStudy) -> None:
    folder = make_study("search")
    folder.study_file.write_text("[study", encoding="utf-8")
    with pytest.raises(InputError, match=r"study\.toml: not valid TOML"):
        write(folder)
    folder.study_file.unlink()
    with pytest.raises(InputError, match=r"study\.toml: no such file"):
        write(folder)


def test_importances_are_handed_in(make_study: MakeStudy) -> None:
    """Only the search's journal knows them."""
    page = Page(write(make_study("search"), {"weight": 0.7, "learning_rate": 0.3}))
    (bars,) = page.data["importances"]["data"]
    assert (bars["x"], bars["y"]) == ([0.3, 0.7], ["learning rate", "λ"])


def test_several_studies_share_one_page(make_study: MakeStudy, tmp_path: Path) -> None:
    """The paper's own column stands beside those of the studies, and each name is there once."""
    folders = [make_study(stage, within=stage, name=stage) for stage in ("search", "prune")]
    folders[1].study_file.write_text(
        folders[1].study_file.read_text().replace('"digits"', '"cifar10"\nmodel = "resnet18"'), encoding="utf-8"
    )
    path = tmp_path / "both.html"
    assert write_report([ReportStudy.read(folder) for folder in folders], path) == path
    page = Page(path)
    assert _plots(page) == sorted(
        [*(f"s1-{name}" for name in SEARCHED), *(f"s2-{name}" for name in SEARCHED), "differences", "s2-confirmed",
         "s2-differences", "s2-pruning-1"]
    )  # fmt: skip
    assert page.source.count("plotly.js v") == 1
    assert ["Topography", "prune: cifar10 with resnet18", "Poli et al. (2022): cifar10 with resnet18"] in page.rows
    assert ["grid2d", "98.30 ± 0.20", "92.55 ± 0.32"] in page.rows
    assert ["circle", "–", "92.68 ± 0.26"] in page.rows
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [one["href"] for one in page.all("a")] == ["#s1-study", "#s2-study"]
    stars = [one for one in page.data["s2-pruning-1"]["data"] if one["marker"].get("symbol") == "star"]
    assert [(one["x"], one["y"]) for one in stars] == [([62], [62.0]), ([62], [40.6])]
