"""A text of the server is shown on one line, printable, and cut."""

from __future__ import annotations

import pytest

from airflow_provider_cca.core.printable import MAX_SHOWN, printable
from airflow_provider_cca.core.secret import Secret
from airflow_provider_cca.errors import CcaError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x\n2026-11-24 ERROR - forged\r", "x 2026-11-24 ERROR - forged"),
        ("\x1b[2Ja\x00b\x85c\u2028d\u202ee", "[2Ja b c d e"),
        ("Müller-数据", "Müller-数据"),
        ("\udcff", ""),
        (5, "5"),
        ("y" * MAX_SHOWN, "y" * MAX_SHOWN),
        ("y" * 2_000_000, "y" * MAX_SHOWN + "…"),
        ("\n" * 2_000_000 + "x", "…"),
    ],
)
def test_a_text_is_shown_on_one_line_printable_and_cut(text: object, shown: str) -> None:
    assert printable(text) == shown


def test_every_error_is_one_line_whatever_names_are_in_it() -> None:
    error = CcaError("x\nERROR - forged\x1b[2J" + "y" * 2_000_000)
    assert str(error).startswith("x ERROR - forged [2Jyyy")
    assert len(str(error)) < 2000
    assert str(CcaError.from_dict(error.as_dict())) == str(error)


def test_a_secret_is_shown_by_nothing_but_open() -> None:
    secret = Secret("s3cr3t")
    assert "s3cr3t" not in f"{secret} {secret!r} {[secret]}"
    assert secret.open() == "s3cr3t"
    assert secret == Secret("s3cr3t")
    assert {secret: 1}[Secret("s3cr3t")] == 1
    assert secret
    assert not Secret("")
    assert not hasattr(secret, "__dict__")
