"""No file of cluster/ ends other people's Ray, opens a port silently, or holds a secret."""

import re

import pytest

from tests.cluster.support import FILES

OPEN = r"0\.0\.0\.0|\[::\]|^ *ports: \[\"|ray start --(?!.*127\.0\.0\.1.*127\.0\.0\.1)|LoadBalancer|NodePort"
SECRET = r"(?i)(?:password|secret[-_]key|token)\"?[=:] *\"?(?=\S*\d)[\w/+-]{6,}"


def silent(text: str) -> list[str]:
    """Lines that open a port beyond loopback, where neither they nor the comment above says `beyond loopback`."""
    lines = text.replace("\\\n", " ").splitlines()
    found = []
    for number, line in enumerate(lines):
        if re.search(OPEN, line) and not line.lstrip().startswith("#"):
            above = number
            while above and not lines[above - 1].strip().startswith("#") and number - above < 8:
                above -= 1
            comment = []
            while above and lines[above - 1].strip().startswith("#"):
                above -= 1
                comment.append(lines[above])
            if "beyond loopback" not in " ".join([line, *comment]).lower():
                found.append(line.strip())
    return found


def test_nothing_stops_every_ray_of_a_host() -> None:
    assert len(FILES) > 15
    for path in FILES:
        assert "ray stop" not in path.read_text(encoding="utf-8"), path


def test_what_listens_beyond_loopback_says_so() -> None:
    for path in FILES:
        if path.suffix != ".md":
            assert silent(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize(
    "line", ["--dashboard-host 0.0.0.0", 'ports: ["80:80"]', "- ray start --head --port 6379", "type: LoadBalancer"]
)
def test_a_silent_line_is_found(line: str) -> None:
    assert silent(f"# head\n{line}\n") == [line]
    assert silent(f"# beyond loopback: for other nodes\n{line}\n") == []


def test_no_secret_stands_in_a_file() -> None:
    assert re.search(SECRET, "password: hunter2hunter2")
    assert re.search(SECRET, "MLFLOW_TRACKING_PASSWORD=abcdefg8")
    for path in FILES:
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not re.search(SECRET, line), f"{path}: {line}"
