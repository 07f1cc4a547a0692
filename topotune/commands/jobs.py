"""The command that sends a study to a cluster. Every import that costs time is inside."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from topotune.commands.sites import check_no_store, overrides
from topotune.errors import InputError

STUDY = "study"  # the folder of the study file in what is sent


def submit(options: argparse.Namespace) -> int:
    """Send a study off and follow it, or follow one that is there; the exit code is the job's."""
    if options.follow and options.target:
        raise InputError(f"{options.target} --follow {options.follow}: give a study file to submit, or a job to follow")
    words = [] if options.follow else _command(options)
    address = options.address or os.environ.get("RAY_API_SERVER_ADDRESS")
    if not address:
        raise InputError(
            "--address: give that of the head's dashboard, http://HOST:8265, here or as RAY_API_SERVER_ADDRESS"
        )
    from topotune.search.job import Jobs, new_id

    jobs = Jobs(address)
    job = options.follow or new_id(options.name)
    back = f"topotune submit --address {address} --follow {job}"
    try:
        if not options.follow:
            _send(options, jobs, words, job)
    except KeyboardInterrupt:
        _say(f"\njob {job} may not have been taken; if it was, it goes on. See:\n  {back}")
        return 130
    if options.detach:
        print(f"job:     {job}\nfollow:  {back}")
        return 0
    try:
        return jobs.follow(job, _tell, _say)
    except KeyboardInterrupt:
        _leave(jobs, job, back)
        return 130


def _command(options: argparse.Namespace) -> list[str]:
    """What the job runs; all that can be found wrong here is found before anything is sent.

    Raises:
        InputError: the study file, a value, or a folder that cannot be the cluster's.
    """
    if options.target is None:
        raise InputError("SPACE: give a study file, or --follow JOB")
    from topotune.followup.perturbations import check_asked
    from topotune.search.study_file import load_study
    from topotune.tracking import check_store

    file = load_study(options.target, overrides(options))
    check_asked(file.option("robustness", "perturbations"))
    options.name = file.name
    words = ["python", "-m", "topotune", "run", f"{STUDY}/{options.target.name}"]
    for name in ("studies", "data"):
        folder: Path | None = getattr(options, name)
        if folder is not None:
            check_no_store(f"--{name}", folder)
            if not folder.is_absolute():
                raise InputError(f"--{name} {folder}: must be an absolute path, at which all nodes see the same folder")
            words += [f"--{name}", str(folder)]
    for word in options.set:
        words += ["--set", word]
    if options.workers is not None:
        words += ["--workers", str(options.workers)]
    if options.mlflow:
        words += ["--mlflow", check_store(options.mlflow)]
    return words + [f"--{name}" for name in ("download", "fresh") if getattr(options, name)]


def _send(options: argparse.Namespace, jobs: Any, words: list[str], job: str) -> None:
    from topotune.provenance import COMMIT, git_commit
    from topotune.search.job import pinned, size_of, upload

    commit = git_commit()
    env = {COMMIT: commit} if commit else {}
    with upload(options.target, STUDY) as folder:
        files, size = size_of(folder)
        jobs.submit(words, job, folder, env, pinned() if options.pip else ())
    _say(f"sent {files} files, {size / 2**20:.1f} MiB; job {job}")


def _leave(jobs: Any, job: str, back: str) -> None:
    """After Ctrl-C: the job goes on, unless a person says otherwise."""
    if sys.stdin.isatty():
        try:
            print(f"\nStop job {job} too? What it has finished is kept. [y/N] ", end="", file=sys.stderr, flush=True)
            if sys.stdin.readline().strip().lower() in ("y", "yes"):
                _say("stopped" if jobs.stop(job) else "it has been told to stop, and is still at it")
                return
        except KeyboardInterrupt:
            pass
    _say(f"\njob {job} goes on. Come back with:\n  {back}")


def _tell(text: str) -> None:
    print(text, end="", flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
