"""The process that measures: parts are asked for line by line, rows go back."""

import gc
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from accelerator.machine import header, peak_memory
from accelerator.plan import Context, measurer
from accelerator.scales import SCALES

MARK = "@"  # begins a line that is an answer: libraries print too


def serve(scale: str, images: str | None, profile: bool) -> None:
    """Answers requests until there are no more.

    A request is a line of JSON with the name of a part, its seconds and what is known
    so far. An answer is a line for every row, and one that says how it ended.
    """
    threading.Thread(
        target=_live_no_longer_than, args=[os.getppid()], daemon=True
    ).start()
    _say({"machine": header()})
    for line in sys.stdin:
        for message in answers(json.loads(line), scale, images, profile):
            _say(message)


def answers(
    request: Mapping[str, Any], scale: str, images: str | None, profile: bool = False
) -> Iterator[dict[str, Any]]:
    """Yields the rows of one part as they come, and then how it ended."""
    end = time.monotonic() + request["seconds"]
    context = Context(SCALES[scale], images, request["facts"], end, profile)
    if scale == "tiny":  # nothing so small is worth the compiler's pains
        jax.config.update("jax_disable_most_optimizations", True)
    how: dict[str, Any] = {"status": "done"}
    try:
        for row in measurer(request["part"])(context):
            yield {"row": row}
            if context.left() < 0:
                how = {"status": "stopped", "why": "its time was up"}
                break
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        how = {"status": "failed", "why": why, "traceback": traceback.format_exc()}
    gc.collect()  # arrays in closures, whose memory the next part may want
    yield {"end": how | peak_memory()}


def _live_no_longer_than(parent: int) -> None:
    """Ends this process when who asks is gone: a device must not stay taken."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _say(message: dict[str, Any]) -> None:
    print(MARK + json.dumps(message, default=float), flush=True)
