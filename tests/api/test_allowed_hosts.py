"""Which URL may be sent the token: whatever looks like an allowed host and is not one is refused."""

from __future__ import annotations

import pytest

from airflow_provider_cca.api.allowed_hosts import check_link, followed, is_host, is_loopback, origin
from airflow_provider_cca.errors import HostNotAllowed

OWN = "pcsprod.webex.com"


def check(
    url: str, own_host: str = OWN, download_hosts: tuple[str, ...] = ("webex.com",), http: bool = False
):
    check_link(
        url,
        own_host=own_host,
        download_hosts=download_hosts,
        may_go_plain=lambda host: http or is_loopback(host),
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://pcsprod.webex.com/pcs/api/v1/cdr",
        "https://pcspod.webex.com/pcs/api/v1/cdr",
        "https://dl7.eu.webex.com/pcs/api/v1/cdr/zip/1",
        "https://webex.com/x",
        "https://dl7.webex.com:8443/x",
        "https://dl7.webex.com:/x",
        "HTTPS://DL7.WEBEX.COM/x",
        "https://WEBEX.COM./x",
        "https://webex.com/x?next=https://evil.example/",
        "https://webex.com/@evil.example/",
        "https://webex.com#@evil.example/",
        "https://webex.com?@evil.example/",
    ],
)
def test_the_hosts_of_cisco_are_allowed(url):
    check(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://webex.com.evil.example/x",
        "https://webex.com@evil.example/x",
        "https://webex.com:443@evil.example/x",
        "https://evil.example@webex.com/x",
        "https://evilwebex.com/x",
        "https://webex.co/x",
        "https://com/x",
        "https://evil.example/webex.com",
        "https://evil.example#.webex.com",
        "https://evil.example?.webex.com",
        "https://evil.example\\.webex.com/x",
        "https://webex.com\\@evil.example/x",
        "https://evil.example%2f.webex.com/x",
        "https://evil.example%00.webex.com/x",
        "https://evil.example;.webex.com/x",
        "https://evil.example<.webex.com/x",
        "https://evil.example\uff0f.webex.com/x",
        "https://evil.example。webex.com/x",
        "https://\uff57ebex.com/x",
        "https://webex.com\u200b/x",
        "https://[v1.webex.com]/x",
        "https://[v1.webex.com]evil.example/x",
        "https://evil.example[v1.webex.com]/x",
        "https://[::1].webex.com/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://.webex.com/x",
        "https://a..webex.com/x",
        "https://webex.com:80:443/x",
        "https://webex.com:99999/x",
        "https://webex.com:٤٤٣/x",
        "https://127.0.0.1/x",
        "https://2130706433/x",
        " https://webex.com/x",
        "https://webex.com/a b",
        "https://webex.com/x\r\nHost: evil.example",
        "https://web\tex.com/x",
        "https://webex.com/\x00",
        "//webex.com/x",
        "/pcs/api/v1/cdr",
        "webex.com/x",
        "https:webex.com/x",
        "https:///webex.com/x",
        "https://",
        "",
        "ftp://webex.com/x",
        "file:///etc/passwd",
        "javascript://webex.com/%0aalert(1)",
        "https://" + "a" * 100_000,
        "https://" + "a." * 50_000 + "!",
    ],
)
def test_what_is_no_plain_url_of_an_allowed_host_is_refused(url):
    with pytest.raises(HostNotAllowed):
        check(url)
    with pytest.raises(HostNotAllowed):
        check(url, http=True)


@pytest.mark.parametrize("url", ["http://pcsprod.webex.com/x", "http://dl7.webex.com:8080/x"])
def test_plain_http_is_allowed_only_when_the_connection_says_so(url):
    check(url, http=True)
    with pytest.raises(HostNotAllowed, match="allow_http"):
        check(url)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_plain_http_to_loopback_is_allowed_when_the_host_is(host):
    url = f"http://{f'[{host}]' if ':' in host else host}:8080/x"
    check(url, own_host=host)
    with pytest.raises(HostNotAllowed):
        check(url)


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("0.0.1", "https://10.0.0.1/x"),
        ("1", "https://127.1/x"),
        ("0.0.1", "https://0x7f.0.0.1/x"),
        ("0x1", "https://127.0x1/x"),
        ("", "https://evil.example/x"),
        (".", "https://evil.example/x"),
        ("*", "https://evil.example/x"),
        ("*.example", "https://evil.example/x"),
    ],
)
def test_a_suffix_is_a_suffix_of_names_and_nothing_allows_all(allowed, url):
    with pytest.raises(HostNotAllowed):
        check(url, download_hosts=(allowed,))


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("10.0.0.1", "https://10.0.0.1/x"),
        ("[2001:db8::1]", "https://[2001:DB8::1]:8443/x"),
        ("2001:db8::1", "https://[2001:db8::1]/x"),
        (".Example.ORG.", "https://dl.example.org/x"),
        ("dl_7.example.org", "https://dl_7.example.org/x"),
    ],
)
def test_download_hosts_may_be_addresses_and_suffixes(allowed, url):
    check(url, download_hosts=(allowed,))


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("https://dl7.webex.com/x", "https://dl7.webex.com/x"),
        ("//dl7.webex.com/x", "https://dl7.webex.com/x"),
        ("/pcs/x", f"https://{OWN}/pcs/x"),
        ("", f"https://{OWN}/pcs/api/"),
    ],
)
def test_a_link_is_read_as_a_browser_reads_it(link, url):
    assert followed(f"https://{OWN}/pcs/api/", link) == url


@pytest.mark.parametrize(
    "link", ["http://[bad", "http://[::1", "http://]", "//[", "https://[x]y/", "http://\uff03/x"]
)
def test_a_link_that_is_no_url_is_refused(link):
    with pytest.raises(HostNotAllowed, match=r"is no (plain )?URL"):
        check(followed(f"https://{OWN}/pcs/api/", link))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://login.example:8443/in?token=s3cret#x", "https://login.example"),
        ("http://me:s3cret@login.example/", "http://login.example"),
        ("https://<b>.example/", ""),
        ("https://[::1", ""),
        ("/in", ""),
        ("", ""),
    ],
)
def test_of_a_url_scheme_and_host_alone_are_shown(url, shown):
    assert origin(url) == shown


def test_the_own_host_is_allowed_whatever_download_hosts_says():
    check("https://cca.example.org/x", own_host="CCA.example.org", download_hosts=())


def test_a_refusal_says_which_host_and_what_to_set():
    with pytest.raises(HostNotAllowed, match=r'dl\.example\.org.*"download_hosts".*now webex\.com') as caught:
        check("https://dl.example.org/x")
    assert caught.value.host == "dl.example.org"


@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3cret@webex.com/x",
        "https://me:s3@cr3t@evil.example/x",
        "https://evil.example/x y?sig=s3cret",
        "ftp://webex.com/x?sig=cr3t",
    ],
)
def test_a_refusal_repeats_no_password_and_no_query(url):
    with pytest.raises(HostNotAllowed) as caught:
        check(url)
    assert "s3" not in str(caught.value)
    assert "cr3t" not in str(caught.value)


def test_a_refusal_is_printable_and_short():
    with pytest.raises(HostNotAllowed) as caught:
        check("https://evil.example/\x1b[31m\n" + "x" * 10_000)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "host", ["localhost", "localhost.", "LocalHost", "127.0.0.1", "127.255.0.9", "::1", "[::1]"]
)
def test_this_machine_is_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["localhost.evil.example", "localhost..", "127.0.0.1.evil.example", "0.0.0.0", "128.0.0.1", ""]
)
def test_no_other_machine_is_loopback(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "text", ["a", "a-b.example", "a_b.example", "A.example.", "10.0.0.1", "::1", "[::1]"]
)
def test_a_name_or_an_address_is_a_host(text):
    assert is_host(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "a..b", "a:443", "https://a", "a/b", "me@a", "a b", "a\n", "a?b", "a#b", "[a]", "a\\b", "ä"],
)
def test_anything_more_is_no_host(text):
    assert not is_host(text)
