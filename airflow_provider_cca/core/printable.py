"""How a text that comes from outside is shown. No I/O."""

from __future__ import annotations

MAX_SHOWN = 300
"""Characters."""


def printable(text: object, longest: int = MAX_SHOWN) -> str:
    """Return a text of the server for a message or a log: one line, printable, cut at `longest` characters.

    A name with a line break would forge a line of the log, one with an escape sequence would steer the
    terminal that shows it, and one of a megabyte would bury the message.
    """
    # Cut before it is gone through: it may be megabytes long. Blanks that fold leave room for more.
    head = str(text)[: 20 * longest]
    line = " ".join("".join(c if c.isprintable() else " " for c in head).split())
    return line if len(line) <= longest and len(head) == len(str(text)) else line[:longest] + "…"
