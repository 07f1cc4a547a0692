"""The page, read as a browser would read it: from each set of stages, with hostile names, and twice the same."""

import base64
import random
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from topotune.errors import InputError
from topotune.files import read_csv, read_json, write_json
from topotune.folder import StudyFolder
from topotune.report.page import Drawing, write_report

MakeStudy = Callable[..., StudyFolder]
FIGURES = ["accuracy_against_weight.png", "confirmed_accuracy.png", "pruning_accuracy.png"]
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Elements, text and table rows of a page; complains of elements that are not closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(self.source)
        self.close()
        assert not self.open

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
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _page(folder: StudyFolder) -> Page:
    path = write_report(folder)
    assert path == folder.report
    return Page(path)


def _drawn(folder: StudyFolder) -> list[str]:
    return sorted(path.name for path in folder.figures.iterdir())


@pytest.mark.parametrize(("stage", "figures"), [("search", 1), ("confirm", 2), ("prune", 3)])
def test_a_page_from_the_stages_so_far(make_study: MakeStudy, stage: str, figures: int) -> None:
    folder = make_study(stage)
    page = _page(folder)
    assert _drawn(folder) == FIGURES[:figures]
    assert all((folder.figures / name).stat().st_size > 10_000 for name in FIGURES[:figures])
    assert len(page.all("img")) == figures
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
    assert ["scientific", "weight", "0.01 to 10.0, log scale"] in page.rows
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
    page = _page(make_study())
    assert not re.search(r"""(src|href)\s*=\s*(?!"data:)|url\(|@import""", page.source)
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "base"}
    for image in page.all("img"):
        kind, data = image["src"].split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        svg = base64.b64decode(data).decode()
        assert not re.search(r"""(src|href)="(?!#)|url\((?!#)|<script""", svg)


def test_the_page_can_be_read_without_seeing_it(make_study: MakeStudy) -> None:
    page = _page(make_study())
    assert page.all("html") == [{"lang": "en"}]
    assert all(image["alt"] for image in page.all("img"))
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    headings = [tag for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert headings == ["h1", *["h2"] * 6]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {one["aria-labelledby"] for one in page.all("section")} == set(ids)


def test_names_are_text_and_no_markup(make_study: MakeStudy) -> None:
    name, description = """<script>alert(1)</script>""", """"><img src=x onerror=alert(2)> & {{ 7 * 7 }}"""
    page = _page(make_study(name=name, description=description))
    assert not page.all("script")
    assert len(page.all("img")) == 3
    assert name in page.text
    assert description in page.text


def test_the_same_study_gives_the_same_files(make_study: MakeStudy) -> None:
    folders = [make_study(within=within) for within in ("one", "two")]
    first, second = (write_report(folder).read_bytes() for folder in folders)
    assert first == second
    for name in FIGURES:
        assert (folders[0].figures / name).read_bytes() == (folders[1].figures / name).read_bytes()
    assert write_report(folders[0]).read_bytes() == first


def test_a_single_seed(make_study: MakeStudy) -> None:
    page = _page(make_study(seeds=1))
    assert ["grid2d", "0.3", "1", "98.30", "+0.80", "–"] in page.rows
    assert "+0.80 percentage points from the control in 1 seed: no interval." in page.text
    assert next(row for row in page.rows if row[0] == "grid2d" and len(row) == 8)[3] == "95.00"


@pytest.mark.parametrize("states", [["pruned"], ["failed"], ["pruned", "failed"]])
def test_no_trial_is_complete(make_study: MakeStudy, states: list[str]) -> None:
    folder = make_study("search", trials={"count": 12, "states": states})
    page = _page(folder)
    assert "No trial is complete." in page.text
    assert "No configuration can be called the best yet" in page.text
    assert len(page.all("img")) == ("pruned" in states)
    assert ("No trial has a validation accuracy yet." in page.text) == (states == ["failed"])


@pytest.mark.parametrize(
    "trials", [{"weights": [0.3]}, {"count": 0}, {"count": 1, "states": ["complete"]}, {"names": ["none"]}]
)
def test_small_searches(make_study: MakeStudy, trials: dict[str, object]) -> None:
    page = _page(make_study("search", trials=trials))
    assert "What was searched" in page.text
    assert len(page.all("img")) == (trials.get("count") != 0)


def test_a_summary_that_says_next_to_nothing(make_study: MakeStudy) -> None:
    folder = make_study("confirm")
    write_json(folder.summary, {"study": "demo"})
    page = _page(folder)
    assert "60 trials: " in page.text
    assert "Not finished yet: topotune confirm demo" in page.text
    assert ["Study hash", "not recorded"] in page.rows


def test_figures_of_rows_that_are_gone_go_too(make_study: MakeStudy) -> None:
    folder = make_study()
    write_report(folder)
    folder.pruning_table.unlink()
    write_report(folder)
    assert _drawn(folder) == FIGURES[:2]


def test_a_broken_study_file_is_named(make_study: MakeStudy) -> None:
    folder = make_study("search")
    folder.study_file.write_text("[study", encoding="utf-8")
    with pytest.raises(InputError, match=r"study\.toml: not valid TOML"):
        write_report(folder)
    folder.study_file.unlink()
    with pytest.raises(InputError, match=r"study\.toml: no such file"):
        write_report(folder)


def test_figures_of_the_search_are_handed_in(make_study: MakeStudy) -> None:
    """A dense one is a PNG within the page, so that the page stays small; those that are gone go from the folder."""
    folder = make_study("search")
    light, dense = Figure(figsize=(6, 3)), Figure(figsize=(8, 4))
    light.subplots().plot([1, 2], [1, 2])
    draw = random.Random(0)
    dense.subplots().plot([draw.random() for _ in range(20_000)], marker="o")
    drawings = [Drawing("search_light", light, "under it", "in words"), Drawing("search_dense", dense, "b", "c")]
    write_report(folder, drawings)
    page = Page(folder.report)
    first, second = page.all("img")[1:]
    assert (first["src"][:18], second["src"][:14]) == ("data:image/svg+xml", "data:image/png")
    assert (first["width"], first["height"], first["alt"]) == ("600", "300", "in words")
    assert "under it" in page.text
    assert folder.report.stat().st_size < 1_000_000
    assert _drawn(folder) == [FIGURES[0], "search_dense.png", "search_light.png"]
    write_report(folder, drawings[:1])
    assert _drawn(folder) == [FIGURES[0], "search_light.png"]
