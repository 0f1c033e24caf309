"""What of an error's body a user may read: the message, on one line, and nothing secret."""

from __future__ import annotations

import json

import pytest

from airflow_provider_cca.api.error_responses import (
    LONGEST_OF_A_PAGE,
    MAX_BYTES,
    message_of,
    without_token,
)
from airflow_provider_cca.core.printable import MAX_SHOWN
from airflow_provider_cca.core.secret import Secret


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message": "no such site", "code": 7}', "no such site"),
        (b'{"error": "invalid", "error_description": "no such account"}', "no such account"),
        (b'{"code": 7}', '{"code": 7}'),
        (b"two\r\nlines \x1b[31m", "two lines [31m"),
        (b"", ""),
        (b"\xff", "\ufffd"),
        (b"x" * 500, "x" * MAX_SHOWN + "…"),
        (b"[" * 4000, "[" * MAX_SHOWN + "…"),
    ],
)
def test_the_message_of_a_body_is_one_short_line(body, message):
    assert message_of(body, ()) == message


@pytest.mark.parametrize(
    "page",
    [
        "<html><body><h1>Not here</h1></body></html>",
        "\n<!DOCTYPE html><style>p {color: red}</style><!-- a > b --><p>Not&nbsp;here",
        "<script>if (a < b) { go() }</script>Not <b\n>here",
    ],
)
def test_of_a_page_of_html_its_words_are_left(page):
    assert message_of(page.encode(), ()) == "a page of HTML: Not here"


def test_of_a_long_page_its_beginning_is_left():
    assert len(message_of(b"<p>" + b"words " * 300, ())) == len("a page of HTML: ") + LONGEST_OF_A_PAGE + 1


@pytest.mark.parametrize(
    "body",
    [
        '{"accessToken": "s3cr3t", "expiresIn": 43199}',
        '{"AccessToken" :\t"s3cr3t"}',
        '{"access_token": "s3cr3t"}',
        '{"accessToken": ["s3cr3t"]}',
        '{"access\\u0054oken": "s3cr3t"}',
        '{"message": {"accessToken": "s3cr3t"}}',
        '{"message": "{\\"accessToken\\":\\"s3cr3t\\"}"}',
        '[{"accessToken": "s3cr3t and more s3cr3t"}]',
        "{'ACCESSTOKEN': 's3cr3t'",
        "access token = s3cr3t",
        "?access_token=s3cr3t&x=y",
        "?u=a%26accessToken%3Ds3cr3t",
        "<accessToken>s3cr3t</accessToken>",
        "<p>{&quot;accessToken&quot;: &quot;s3cr3t&quot;}</p>",
    ],
)
def test_an_access_token_is_dropped_however_it_is_written(body):
    message = message_of(body.encode(), ())
    assert "s3cr3t" not in message
    assert message


def test_words_about_a_token_are_kept():
    assert message_of(b"The accessToken is missing or old", ()) == "The accessToken is missing or old"


@pytest.mark.parametrize("cut", range(1, 9))
def test_half_a_secret_at_the_end_of_what_is_looked_at_is_no_message(cut):
    """Tags make room: what follows thousands of them is among the first words."""
    secret = "hunter2-x"
    page = ("<p>" * MAX_BYTES)[: MAX_BYTES - cut].encode() + secret.encode()
    assert "h" not in message_of(page[:MAX_BYTES], (Secret(secret),)).removeprefix("a page of HTML: ")


def test_a_secret_that_looks_like_a_tag_goes_before_the_tags_do():
    secret = "abc<def>ghi"
    assert (
        message_of(f"<p>{secret} {json.dumps(secret)}</p>".encode(), (Secret(secret),))
        == 'a page of HTML: *** "***"'
    )


def test_a_secret_that_is_no_utf_8_is_no_stumbling_block():
    """As from an environment variable of other bytes."""
    assert message_of(b"wrong password: p\\udcffw", (Secret("p\udcffw"),)) == "wrong password: ***"


@pytest.mark.parametrize(
    "written",
    [
        "a/b+c=d&e-0123456789",
        "a\\/b+c=d&e-0123456789",
        "a/b+c\\u003dd\\u0026e-0123456789",
        "a%2fb%2bc%3dd%26e-0123456789",
    ],
    ids=["as it is", "as in PHP", "as in Java", "in a link"],
)
def test_a_listing_repeats_no_token_however_it_is_written(written: str) -> None:
    body = f'{{"downloadLink": "https://h/f?t={written}"}}'.encode()
    assert without_token(body, Secret("a/b+c=d&e-0123456789")) == b'{"downloadLink": "https://h/f?t=***"}'
