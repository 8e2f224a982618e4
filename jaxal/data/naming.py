"""File names that systems take."""

import hashlib

MOST = 200  # bytes; systems take 255, and endings are added


def short(name: str) -> str:
    """The name, the end of a long one replaced by a digest of the whole.

    Example:
      >>> short("pets"), len(short(100 * "pets")), short(100 * "pets")[-12:]
      ('pets', 200, '2373930c8d7e')
    """
    encoded = name.encode(errors="surrogateescape")
    if len(encoded) <= MOST:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:12]
    return f"{encoded[: MOST - 13].decode(errors='ignore')}-{digest}"
