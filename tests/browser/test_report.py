"""The report in a real browser: it complains of nothing, draws every picture, and fits a desktop and a telephone."""

import html
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.unit.report.conftest import MakeStudy
from tests.unit.report.conftest import make_study as make_study
from topotune.report.page import write_report

pytestmark = pytest.mark.slow

WIDTHS = (1280, 400)
# The report stands in frames, since a browser's own window is at least 500 wide; its own rules stay in force there.
PAGE = """<!doctype html><meta charset="utf-8">{frames}<pre id="found"></pre><script>
addEventListener("load", () => {{
  const look = (frame) => {{
    const page = frame.contentDocument.documentElement;
    const images = [...page.querySelectorAll("img")].map((one) => one.complete && one.naturalWidth > 0);
    return {{width: page.clientWidth, scrolls: page.scrollWidth, images: images, text: page.innerText.length}};
  }};
  document.getElementById("found").textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(look));
}});
</script>"""
FRAME = '<iframe style="border: 0" width="{width}" height="800" srcdoc="{report}"></iframe>'

Browse = Callable[[str], tuple[list[dict[str, Any]], str]]


@pytest.fixture
def chromium() -> str:
    """The browser; skips where there is none."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    return found


@pytest.fixture
def browse(chromium: str, tmp_path: Path) -> Browse:
    """What Chromium makes of a report at each width, and what it complains of."""

    def look(report: str) -> tuple[list[dict[str, Any]], str]:
        path = tmp_path / "frames.html"
        frames = (FRAME.format(width=width, report=html.escape(report)) for width in WIDTHS)
        path.write_text(PAGE.format(frames="".join(frames)), encoding="utf-8")
        words = [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom",
            "--hide-scrollbars", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", path.as_uri(),
        ]  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout)
        assert found, done.stdout[-1000:]
        return json.loads(html.unescape(found[1])), "\n".join(re.findall(r".*CONSOLE.*", done.stderr))

    return look


@pytest.mark.parametrize("stage", ["search", "prune"])
def test_a_report_is_whole_and_fits(stage: str, make_study: MakeStudy, browse: Browse) -> None:
    report = write_report(make_study(stage)).read_text(encoding="utf-8")
    pages, complaints = browse(report)
    assert complaints == ""
    assert [page["width"] for page in pages] == list(WIDTHS)
    for page in pages:
        assert page["scrolls"] <= page["width"]
        assert page["images"] == [True] * (3 if stage == "prune" else 1)
        assert page["text"] > 1000


def test_the_browser_sees_what_is_wrong(make_study: MakeStudy, browse: Browse) -> None:
    """A broken picture, too wide a line and a forbidden script are found, so that the test above can fail."""
    report = write_report(make_study("search")).read_text(encoding="utf-8")
    worse = (
        '<img src="data:image/png;base64,AAAA"><p style="width: 2000px; max-width: none">x</p><script>1</script></main>'
    )
    pages, complaints = browse(report.replace("</main>", worse))
    assert all(page["scrolls"] >= 2000 for page in pages)
    assert [page["images"][-1] for page in pages] == [False, False]
    assert "Content Security Policy" in complaints


def test_a_photograph_of_a_report(chromium: str, make_study: MakeStudy, tmp_path: Path) -> None:
    """docs/screenshots.py, as a person runs it."""
    folder = make_study("prune")
    write_report(folder)
    command = [sys.executable, ROOT / "docs" / "screenshots.py", folder.path, "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'report.png'}\n"
    with Image.open(tmp_path / "report.png") as picture:
        assert picture.size == (1100, 2600)
        assert len(picture.convert("L").getcolors() or []) > 50  # not one blank sheet
