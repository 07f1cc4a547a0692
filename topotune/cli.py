"""The command line: parse, call one function of ``commands``."""

import argparse
import os
import select
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from topotune.arguments import parser
from topotune.errors import InputError, StageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it worked, 2 when the input was wrong, 1 when the machine failed, 130 after Ctrl-C, 143
    after SIGTERM, which schedulers and clouds send before they take a machine away."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(words)
    with _sigterm_like_ctrl_c() as terminated:
        return _run(words, options, terminated)


def _run(words: Sequence[str], options: argparse.Namespace, terminated: Sequence[int]) -> int:
    try:
        return options.run(options) or 0
    except InputError as error:
        return _fail(str(error), 2)
    except StageError as error:
        return _fail(str(error), 1)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _reader_left():
            return 128 + signal.SIGPIPE
        if isinstance(error.__context__, KeyboardInterrupt):  # Ctrl-C left a library in the middle of something
            return _stopped(words, options, terminated)
        # a full disk, a folder that may not be written
        return _fail(f"{error}; nothing that was finished is lost, and the same command goes on", 1)
    except KeyboardInterrupt:
        return _stopped(words, options, terminated)


def _reader_left() -> bool:
    """Whether nobody reads standard output any more, as when ``head`` has enough; what is left goes nowhere then."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    left = any(event & select.POLLERR for _file, event in output.poll(0))
    if left:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return left


@contextmanager
def _sigterm_like_ctrl_c() -> Iterator[list[int]]:
    """Within it, SIGTERM raises KeyboardInterrupt; what comes in is noted in the list."""
    terminated: list[int] = []

    def terminate(number: int, _frame: object) -> None:
        terminated.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield terminated
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield terminated
    finally:
        signal.signal(signal.SIGTERM, before)


def _stopped(words: Sequence[str], options: argparse.Namespace, terminated: Sequence[int]) -> int:
    again = _resume(words, options)
    print(f"\nstopped; nothing that was finished is lost. Go on with:\n  {again}", file=sys.stderr)
    return 128 + terminated[0] if terminated else 130


def _fail(text: str, code: int) -> int:
    print(f"topotune: error: {' '.join(text.split())}", file=sys.stderr)
    return code


def _resume(words: Sequence[str], options: argparse.Namespace) -> str:
    """The command that goes on: the same one, but a study begun with --fresh keeps the name it got."""
    again = [word for word in words if word != "--fresh"]
    if getattr(options, "fresh_name", None):
        again += ["--set", f"study.name={options.fresh_name}"]
    return shlex.join(["topotune", *again])
