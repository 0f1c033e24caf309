"""Files from the server to a store, beside curl, rclone and urllib3."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from ..bench import Bench, needs
from ..processes import Cost, in_turn, run_program
from ..server import COMPRESSED, Server, serving, span, yesterday
from ..table import Line

CONNECTIONS = 20
LATENCY = 0.05
SMALL_FILE = 50_000


def small_local(bench: Bench) -> Iterator[Line]:
    """Many small files to a local folder."""
    count = bench.size(2000, 100)
    with serving(days=3, files_per_day=count, file_size=SMALL_FILE, latency=LATENCY) as server:
        day = yesterday()
        costs = in_turn(
            bench.repeat, lambda: local_day(bench, server, day, count), curl(bench, server, day, day)
        )
        yield Line.ratio(f"{count} files of 50 KB to local files", "curl -Z", 1.10, *costs)
        costs = in_turn(
            bench.repeat, lambda: local_day(bench, server, day, count), aria2(bench, server, day, day)
        )
    yield Line.ratio(f"{count} files of 50 KB to local files", "aria2c", 1.10, *costs)


def small_tls(bench: Bench) -> Iterator[Line]:
    """The same over https, which is how Cisco's server is reached."""
    count, (certificate, bundle) = bench.size(2000, 100), bench.certificates
    with serving(
        days=3,
        files_per_day=count,
        file_size=SMALL_FILE,
        latency=LATENCY,
        certificate=str(certificate),
        bundle=bundle,
    ) as server:
        day = yesterday()
        costs = in_turn(
            bench.repeat,
            lambda: local_day(bench, server, day, count),
            curl(bench, server, day, day, "--cacert", str(bundle)),
        )
    yield Line.ratio(f"{count} files of 50 KB over https to local files", "curl -Z", 1.10, *costs)


def year(bench: Bench) -> Iterator[Line]:
    """A year of days as one range in one task."""
    days = bench.size(365, 40)
    first, last = span(days)
    with serving(days=days + 2, file_size=SMALL_FILE, latency=LATENCY) as server:
        costs = in_turn(
            bench.repeat,
            lambda: local(bench, server, first, last, days),
            curl(bench, server, first, last),
        )
    yield Line.ratio(f"{days} days as one range in one task, 50 KB each", "curl -Z", 1.25, *costs)


def large(bench: Bench) -> Iterator[Line]:
    """A few large files, verified."""
    count, size = 20, bench.size(200_000_000, 1_000_000)
    with serving(days=3, files_per_day=count, file_size=size) as server:
        day = yesterday()
        files, token = server.files(day, day), server.token()

        def other(sync: bool) -> Cost:
            with bench.fresh_folder() as folder:
                return bench.yardstick("download", files=files, token=token, folder=str(folder), sync=sync)

        work = f"{count} files of {size // 1_000_000} MB, verified"
        for what, sync in (("urllib3 with MD5", False), ("urllib3 with MD5 and fsync", True)):
            costs = in_turn(bench.repeat, lambda: local_day(bench, server, day, count), partial(other, sync))
            yield Line.ratio(work, what, 1.1, *costs)


def small_s3(bench: Bench) -> Iterator[Line]:
    """Many small files into an S3 server."""
    needs("rclone")
    count = bench.size(2000, 100)
    kind, day = bench.s3.kind, yesterday()
    with serving(
        days=3, files_per_day=count, file_size=SMALL_FILE, latency=LATENCY, download_hosts=["127.0.0.1"]
    ) as server:
        costs = in_turn(bench.repeat, lambda: into_s3(bench, server, day, count), rclone(bench, server, day))
    yield Line.ratio(f"{count} files of 50 KB into S3 ({kind})", "rclone copy", 1.3, *costs)


def local(
    bench: Bench, server: Server, first: date, last: date, count: int, sites: Sequence[str] = ()
) -> Cost:
    """Land into an empty folder."""
    with bench.fresh_folder() as folder:
        dates = {"first": str(first), "last": str(last)}
        return landed(
            bench.ours(server, "land", destination=str(folder), **dates, sites=list(sites) or None), count
        )


def local_day(bench: Bench, server: Server, day: date, count: int) -> Cost:
    """Land one creation date into an empty folder."""
    return local(bench, server, day, day, count)


def landed(cost: Cost, count: int) -> Cost:
    """The same cost, once it is sure that the work was done."""
    if cost.facts["downloaded"] != count:
        raise ValueError(f"{count} files were to be landed, not {cost.facts}")
    return cost


def into_s3(bench: Bench, server: Server, day: date, count: int) -> Cost:
    """Land into an empty bucket."""
    with bench.fresh_bucket() as bucket:
        cost = bench.ours(server, "land", destination=in_bucket(bucket), first=str(day), last=str(day))
        return landed(cost, count)


def in_bucket(name: str) -> str:
    """A destination in a bucket."""
    return f"s3://aws_default@{name}/cca"


def curl(bench: Bench, server: Server, first: date, last: date, *more: str) -> Callable[[], Cost]:
    """curl with a ready list and a ready token, as fast as it goes."""
    options = ["-Z", "--parallel-max", str(CONNECTIONS), "-sS", "--fail", *more, "-K"]
    return _with_list(bench, server, first, last, ["curl", *options], _curl_config)


def aria2(bench: Bench, server: Server, first: date, last: date) -> Callable[[], Cost]:
    """aria2c with the same list: a file on each connection, nothing allocated beforehand."""
    options = ["-j", str(CONNECTIONS), "-x", "1", "-q", "--file-allocation=none", "-i"]
    return _with_list(bench, server, first, last, ["aria2c", *options], _aria2_list)


def _with_list(
    bench: Bench,
    server: Server,
    first: date,
    last: date,
    command: list[str],
    written: Callable[[Sequence[dict[str, Any]], str, Path], str],
) -> Callable[[], Cost]:
    """A program that is given a file with all links, as `written` writes it."""
    needs(command[0])
    files, token = server.files(first, last), server.token()

    def fetch() -> Cost:
        with bench.fresh_folder() as folder:
            listed = bench.folder / bench.name(command[0])
            listed.write_text(written(files, token, folder))
            cost = run_program([*command, str(listed)])
            if len(list(folder.iterdir())) != len(files):
                raise ValueError(f"{command[0]} did not fetch {len(files)} files")
            return cost

    return fetch


def _curl_config(files: Sequence[dict[str, Any]], token: str, folder: Path) -> str:
    lines = [f'header = "Authorization: Bearer {token}"']
    for number, file in enumerate(files):
        lines += [f'url = "{file["downloadLink"]}"', f'output = "{folder / str(number)}"']
    return "\n".join(lines)


def _aria2_list(files: Sequence[dict[str, Any]], token: str, folder: Path) -> str:
    lines = []
    for number, file in enumerate(files):
        options = {"header": f"Authorization: Bearer {token}", "dir": folder, "out": number}
        lines += [file["downloadLink"], *(f"  {name}={value}" for name, value in options.items())]
    return "\n".join(lines)


def rclone(bench: Bench, server: Server, day: date) -> Callable[[], Cost]:
    """rclone, which reads a page of links; the token is ready."""
    files = server.files(day, day)
    server.ask("index", [file["downloadLink"].rsplit("/", 1)[-1] for file in files])
    env = {
        "RCLONE_CONFIG": str(bench.folder / "rclone.conf"),
        "RCLONE_HTTP_URL": f"{server.root}{COMPRESSED}/",
        "RCLONE_HTTP_NO_HEAD": "true",
        "RCLONE_HTTP_HEADERS": f"Authorization,Bearer {server.token()}",
        "RCLONE_S3_PROVIDER": "Ceph",
        "RCLONE_S3_ENDPOINT": bench.s3.endpoint,
        **bench.s3_login,
    }

    def copy() -> Cost:
        with bench.fresh_bucket() as bucket:
            cost = run_program(
                ["rclone", "copy", ":http:", f":s3:{bucket}/cca", "--transfers", str(CONNECTIONS)], env
            )
            if (stored := len(bench.s3_keys(bucket))) != len(files):
                raise ValueError(f"rclone stored {stored} of {len(files)} files")
            return cost

    return copy
