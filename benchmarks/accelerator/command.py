"""The command line of `benchmarks/accelerator.py`."""

import argparse
import pathlib
import sys
import time
from typing import Any

import tables

from accelerator import pages
from accelerator.asking import Here, StoppedError, Worker
from accelerator.plan import PARTS
from accelerator.running import run
from accelerator.scales import SCALES

_NAMES = [part.name for part in PARTS]


def main(description: str, arguments: list[str] | None = None) -> None:
    """Measures what is asked for."""
    options = parse(description, arguments)
    if options.worker:
        from accelerator.serving import serve

        return serve(options.scale, options.images, options.profile)
    measure(options)


def parse(description: str, arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=_NAMES,
        default=[],
        metavar="PART",
        help=str(_NAMES),
    )
    parser.add_argument(
        "--seconds", type=float, default=480, help="for everything, 480 by default"
    )
    parser.add_argument(
        "--part-seconds", type=float, help="for each part, instead of its own limit"
    )
    parser.add_argument(
        "--images", help=".npz of x_train, y_train, x_test, y_test; else synthetic"
    )
    parser.add_argument(
        "--profile", action="store_true", help="say which kernels took a row's time"
    )
    parser.add_argument("--commit", help="where there is no Git to be asked")
    parser.add_argument("--json", type=pathlib.Path, help="a file for all numbers")
    parser.add_argument("--markdown", type=pathlib.Path, help="a file for the tables")
    parser.add_argument(
        "--here",
        action="store_true",
        help="measure in this process: nothing can stop a part amid a call",
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.images and not pathlib.Path(options.images).is_file():
        parser.error(f"--images: there is no file {options.images}")
    return options


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the parts and returns what was found, which is on disk by then."""
    found: dict[str, Any] = {
        "scale": options.scale,
        "command": "python " + " ".join(sys.argv),
        "commit": options.commit or _commit(),
        "parts": [],
    }
    start = time.monotonic()
    given = options.scale, options.images, options.profile
    asked = Here(*given) if options.here else _worker(options)
    try:
        found["machine"] = asked.machine()
    except StoppedError as stopped:
        raise SystemExit(f"No device could be started: {stopped.args[1]}") from None
    if options.scale == "full" and found["machine"]["backend"] == "cpu":
        asked.stop()
        raise SystemExit("JAX sees no accelerator. Use --scale cpu, or tiny.")
    try:
        run(
            found,
            asked,
            only=options.only,
            seconds=options.seconds - (time.monotonic() - start),
            part_seconds=options.part_seconds,
            write=lambda found: pages.write(found, options.markdown, options.json),
        )
    finally:
        asked.stop()
    print(pages.markdown(found))
    return found


def _worker(options: argparse.Namespace) -> Worker:
    script = pathlib.Path(__file__).resolve().parents[1] / "accelerator.py"
    command = [sys.executable, "-u", str(script), "--worker", "--scale", options.scale]
    command += ["--images", options.images] if options.images else []
    return Worker(command + (["--profile"] if options.profile else []))


def _commit() -> str:
    try:
        return tables.commit()
    except FileNotFoundError:  # no Git here
        return "unknown"
