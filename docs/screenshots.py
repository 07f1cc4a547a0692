"""Photographs of a study's pages, by Debian's chromium: its report, and MLflow's comparison of its best trials.

    topotune ui --studies studies &
    python docs/screenshots.py studies/digits --mlflow http://127.0.0.1:5000 --out docs

Writes report.png and, where MLflow's address is given, mlflow-compare.png.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

TALL, WIDE = (1100, 2600), (1700, 1000)  # width, height
PATIENCE = 60_000  # ms of the page's own clock
COMPARED = 5  # of the best trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="a study's folder")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="where the pictures go (default: docs)")
    parser.add_argument("--mlflow", help="the address of MLflow's pages, as topotune ui says it")
    options = parser.parse_args()
    photograph((options.study / "report.html").resolve().as_uri(), options.out / "report.png", TALL)
    if options.mlflow:
        photograph(compare_page(options.mlflow, options.study.name), options.out / "mlflow-compare.png", WIDE)


def photograph(address: str, path: Path, size: tuple[int, int]) -> None:
    """One page as PNG, from its top, once its scripts have drawn it."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        sys.exit("no chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        words = [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
            f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", f"--screenshot={path.resolve()}",
            f"--virtual-time-budget={PATIENCE}", address,
        ]  # fmt: skip
        subprocess.run(words, check=True, capture_output=True, timeout=200)
    print(path)


def compare_page(base: str, study: str) -> str:
    """The address of MLflow's comparison of a study's best trials."""
    experiment = _ask(base, "experiments/get-by-name", experiment_name=study)["experiment"]["experiment_id"]
    wanted = {
        "experiment_ids": [experiment], "filter": "tags.stage = 'search' and tags.state = 'complete'",
        "order_by": ["metrics.best_validation_accuracy DESC"], "max_results": COMPARED,
    }  # fmt: skip
    runs = [run["info"]["run_id"] for run in _ask(base, "runs/search", wanted)["runs"]]
    query = urllib.parse.urlencode({"runs": json.dumps(runs), "experiments": json.dumps([experiment])})
    return f"{base}/#/compare-runs?{query}"


def _ask(base: str, path: str, body: dict[str, Any] | None = None, **query: str) -> Any:
    address = f"{base}/api/2.0/mlflow/{path}?{urllib.parse.urlencode(query)}"
    content = json.dumps(body).encode() if body else None
    request = urllib.request.Request(address, content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
