"""Text that becomes HTML, whatever data sets and people call things."""

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def element(tag: str, *parts: str, **attributes: Any) -> str:
    """Returns an element around HTML; attributes are escaped, None is left out.

    Example:
      >>> from jaxal.report.page.html import element
      >>> element("p", "a", title='say "hi"', hidden=None)
      '<p title="say &quot;hi&quot;">a</p>'
    """
    said = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return f"<{tag}{said}>{''.join(parts)}</{tag}>"


def text(tag: str, content: Any, **attributes: Any) -> str:
    """Returns an element around a text."""
    return element(tag, escape(str(content)), **attributes)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Returns a table that can be sorted by column; "words" are set on the left."""
    head = element("tr", *(text("th", cell, scope="col") for cell in header))
    body = [element("tr", *(text("td", cell) for cell in row)) for row in rows]
    return element(
        "div",
        element(
            "table",
            element("thead", head),
            element("tbody", *body),
            class_=f"sortable {kind}".strip(),
        ),
        class_="scroll",
    )


def details(title: str, *parts: str, is_open: bool = False) -> str:
    """Returns what can be folded away, below a title."""
    whole = text("summary", title) + "".join(parts)
    return f"<details{' open' if is_open else ''}>{whole}</details>"


def embedded(value: Any) -> str:
    r"""Returns JSON that may stand in a script element, where nothing is escaped.

    Example:
      >>> from jaxal.report.page.html import embedded
      >>> embedded("</script>")
      '"\\u003c/script\\u003e"'
    """
    said = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        said = said.replace(sign, f"\\u{ord(sign):04x}")
    return said


def svg(content: bytes, label: str) -> str:
    """Returns a picture of matplotlib as part of a page, with a label for ears."""
    whole = content.decode()
    whole = whole[whole.index("<svg") :]
    whole = re.sub(r"<metadata>.*?</metadata>", "", whole, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', whole))
    # Ids that nothing points to would occur once a figure.
    whole = re.sub(
        r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", whole
    )
    return whole.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
