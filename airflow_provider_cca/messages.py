"""What a server says in the body of an error, as a user may read it. Plain Python: no Airflow, no I/O."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote

MAX_BYTES = 4096
"""So much of a body is looked at."""

LONGEST = 300
LONGEST_OF_A_PAGE = 100
"""Characters. A page of HTML is not from the API: a proxy or another server wrote it, for a browser."""

_NAMES = ("message", "error_description", "description", "error")
_BETWEEN = r"""(?:[\\\s"'\[{(]|&\#?\w+;|%22)*"""
_ACCESS_TOKEN = re.compile(
    rf"""(access[\s_-]*token{_BETWEEN}(?:[:=>]|%3[ad]){_BETWEEN})((?<=["'])[^"']+|[^\s"'\\,;&<>}}\]]+)""",
    re.I,
)
_PAGE = re.compile(r"\s*<[!?a-z]", re.I)
_TAGS = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", re.I | re.S)


def message_of(body: bytes, secrets: Iterable[str]) -> str:
    """The message in a body, on one line, without the secrets and without the value of any accessToken.

    :param body: Its first MAX_BYTES.
    """
    forms = [form for secret in secrets if secret for form in _written_forms(secret)]
    text = body.decode("utf-8", "replace")
    if len(body) >= MAX_BYTES:
        # What is cut off may be the second half of a secret.
        text = text[: -max(map(len, forms), default=1)]
    text = _without(_told(text), forms)
    longest = LONGEST
    if _PAGE.match(text):
        text, longest = _without(html.unescape(_TAGS.sub(" ", text)), forms), LONGEST_OF_A_PAGE
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= longest else text[:longest] + "…"


def _told(text: str) -> str:
    try:
        body = json.loads(text)
        named = [body[name] for name in _NAMES if body.get(name)] if isinstance(body, dict) else []
        return str(named[0]) if named else json.dumps(body, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _without(text: str, forms: Iterable[str]) -> str:
    for form in forms:
        text = text.replace(form, "***")
    return _ACCESS_TOKEN.sub(r"\1***", text)


def _written_forms(secret: str) -> list[str]:
    """How a server may write it that repeats our request: as it is, or escaped; the longest first."""
    forms = {secret, repr(secret)[1:-1], quote(secret, safe="", errors="replace"), html.escape(secret)}
    forms |= {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    return sorted(forms, key=len, reverse=True)
