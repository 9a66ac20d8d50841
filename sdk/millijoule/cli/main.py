"""``mj``: choosing the verb, and turning exceptions into one line and an exit code.

Exit codes: 0 done, 1 verification or regression failed, 2 usage, 3 unsupported model or operator,
4 device or toolchain, 5 bad bundle, 70 a fault in Millijoule, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from ..errors import DeviceError, MjError, UsageError
from ..version import __version__
from . import (
    build,
    check,
    devices,
    doctor,
    export,
    inspect,
    models,
    profile,
    run,
    targets,
    tune,
    verify,
)
from .console import Console

__all__ = ["main"]

EXIT_FAULT = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

_VERBS = (
    build,
    check,
    tune,
    run,
    verify,
    inspect,
    profile,
    export,
    targets,
    models,
    devices,
    doctor,
)


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are errors like all others: one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `{self.prog} --help`")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: that of the process) and return its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # labels in any script, terminals in any encoding
    try:
        arguments = _parser().parse_args(argv)
        console = Console(arguments.quiet, arguments.json)
        code: int = arguments.execute(arguments, console)
        sys.stdout.flush()
        return code
    except SystemExit:  # argparse has printed the help or the version
        return 0
    except MjError as error:
        print(f"mj: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("mj: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except MemoryError as error:
        reason = _one_line(error) or "an allocation failed"
        print(
            f"mj: error: not enough memory: {reason}; use a smaller model, batch or input",
            file=sys.stderr,
        )
        return DeviceError.exit_code
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_INTERRUPTED
    except Exception as error:
        return _fault(error)


def _fault(error: Exception) -> int:
    """Report an exception that nobody foresaw."""
    if os.environ.get("MJ_DEBUG") == "1":
        traceback.print_exc()
    print(
        f"mj: internal error: {type(error).__name__}: {_one_line(error)}; please report it with the"
        " output of the same command under MJ_DEBUG=1 and of `mj doctor`",
        file=sys.stderr,
    )
    return EXIT_FAULT


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _parser() -> argparse.ArgumentParser:
    common = _Parser(add_help=False)
    common.add_argument(
        "--json", metavar="FILE", help="also write the result as JSON; - for standard output only"
    )
    common.add_argument("--quiet", action="store_true", help="print errors only")
    parser = _Parser(
        prog="mj",
        description="Take an efficient transformer from a checkpoint to a device, and measure it.",
        epilog="Exit codes: 0 ok, 1 verification or regression failed, 2 usage, 3 unsupported,"
        " 4 device or toolchain, 5 bad bundle.",
    )
    parser.add_argument("--version", action="version", version=f"mj {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in _VERBS:
        summary = (verb.__doc__ or "").splitlines()[0].split(": ", 1)[1]
        name = verb.__name__.rpartition(".")[2]
        sub = verbs.add_parser(name, parents=[common], help=summary, description=summary)
        verb.add_arguments(sub)
        sub.set_defaults(execute=verb.execute)
    return parser
