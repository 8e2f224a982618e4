"""Goes through the parts, each with a limit, and writes after every one."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from accelerator.asking import GRACE, Here, StoppedError, Worker
from accelerator.plan import PARTS, Part, Row

LEAST = 5.0  # seconds below which a part is not begun
NEEDED = "floors"  # always measured: other rows are told beside them

Found = dict[str, Any]


def run(
    found: Found,
    asked: Here | Worker,
    *,
    only: Collection[str],
    seconds: float,
    part_seconds: float | None,
    write: Callable[[Found], None],
) -> None:
    """Measures the parts in order, as far as the time goes.

    Args:
      found: the header; gets a record for every part.
      asked: who measures.
      only: names of parts, none for all.
      seconds: for everything.
      part_seconds: for each part instead of its own limit.
      write: is called after every part.
    """
    end = time.monotonic() + seconds
    facts = found.setdefault("floors", {})
    for part in PARTS:
        limit = part_seconds or part.limit
        record = {"name": part.name, "what": part.what, "rows": []}
        found["parts"].append(record)
        left = end - time.monotonic()
        if only and part.name not in {*only, NEEDED}:
            record["status"] = "not asked for"
        elif left < LEAST:
            record |= {"status": "skipped", "why": "the time for everything was up"}
        else:
            _measure(part, record, asked, facts, min(limit, left))
        write(found)
        _say(record)
        if part.is_last:
            asked.stop()


def _measure(
    part: Part,
    record: Found,
    asked: Here | Worker,
    facts: dict[str, float],
    limit: float,
) -> None:
    """Fills one record; a part that fails or takes too long is said to have."""
    start = time.monotonic()
    within = max(0.5 * limit, limit - GRACE)
    record |= {"limit_s": limit, "status": "failed"}
    request = {"part": part.name, "seconds": within, "facts": facts}
    try:
        for message in asked.ask(request):
            if "row" in message:
                row = message["row"]
                facts |= row.pop("facts", {})
                record["rows"].append(with_floor(row, facts))
            else:
                record |= message["end"]
    except StoppedError as stopped:
        record["status"], record["why"] = stopped.args
    except Exception as error:  # of this program itself: what is known is kept
        record["why"] = f"{type(error).__name__}: {error}"
    record["seconds"] = time.monotonic() - start


def _say(record: Found) -> None:
    took = f" in {record['seconds']:.0f} s" if "seconds" in record else ""
    why = f": {record['why']}" if "why" in record else ""
    print(f"# {record['name']}: {record['status']}{took}{why}"[:300], flush=True)


def with_floor(row: Row, facts: Mapping[str, float]) -> Row:
    """Adds the least seconds that bytes and operations take here, and the share.

    Bytes at the rate of a copy, which reads and writes; operations at that of a large
    product. The longer of the two bounds the row, and `of_floor` is how much of the
    time it would be.
    """
    times = {}
    if row.get("bytes") and "copy" in facts:
        times["copy"] = row["bytes"] / facts["copy"]
    if row.get("flops") and row.get("unit") in facts:
        times[f"{row['unit']} products"] = row["flops"] / facts[row["unit"]]
    if not times or "seconds" not in row:
        return row
    bound = max(times, key=times.__getitem__)
    taken = min(row["seconds"], row.get("queued_s", row["seconds"]))
    floor = times[bound]
    return row | {"floor_s": floor, "bound": bound, "of_floor": floor / taken}
