"""What comes out of a zip that nobody vouches for, and what is refused."""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import subprocess
import sys
import textwrap
import warnings
import zipfile
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cca.errors import (
    CcaError,
    DamagedArchive,
    HostileArchive,
    InvalidArgument,
    StoreError,
    UnsupportedArchive,
)
from airflow_provider_cca.extract.zip_reader import (
    CHUNK_BYTES,
    MAX_RATIO,
    RATIO_FROM_BYTES,
    Archive,
    Limits,
    gzipped,
)

CSV = b"CONFERENCEID,MINUTES\n" + b"".join(b"%d,%d\n" % (n, n % 60) for n in range(1000))


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(target, "w", method) as archive:
        warnings.simplefilter("ignore")  # about names that come twice
        for name, content in members:
            # With a time of its own a zip would get another MD5 every other second.
            info = zipfile.ZipInfo(name) if isinstance(name, str) else name
            archive.writestr(info, content, compress_type=method)
    return target.getvalue()


def opened(body: bytes, **limits: int) -> Archive:
    return Archive(io.BytesIO(body), "a.zip", replace(Limits(), **limits))


def contents(body: bytes, **limits: int) -> list[tuple[str, bytes]]:
    archive = opened(body, **limits)
    return [(member.name, b"".join(archive.chunks(member))) for member in archive.members]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_come_out_as_they_went_in(method: int) -> None:
    members = [("a.csv", CSV), ("empty.csv", b""), ("b.csv", os.urandom(2 * CHUNK_BYTES + 1))]
    assert contents(zipped(*members, method=method)) == members


def test_a_zip_without_members_has_none() -> None:
    assert contents(zipped()) == []


def test_folders_are_left_out_unless_they_hold_something() -> None:
    assert contents(zipped(("folder/", b""), ("folder/a.csv", CSV), ("b/", b"x"))) == [
        ("folder/a.csv", CSV),
        ("b/", b"x"),
    ]


def test_a_zip_in_the_zip_is_kept_as_it_is() -> None:
    inner = zipped(("a.csv", CSV))
    assert contents(zipped(("inner.zip", inner))) == [("inner.zip", inner)]


def test_members_of_one_name_are_told_apart_by_their_position() -> None:
    archive = opened(zipped(("a.csv", b"one"), ("folder/", b""), ("a.csv", b"two")))
    assert [(m.position, m.name, m.size) for m in archive.members] == [(0, "a.csv", 3), (1, "a.csv", 3)]
    assert [b"".join(archive.chunks(m)) for m in archive.members] == [b"one", b"two"]


@given(st.lists(st.tuples(st.text(max_size=60), st.binary(max_size=40)), max_size=6))
def test_names_are_given_as_they_are_written(members: list[tuple[str, bytes]]) -> None:
    """Also those with paths, NULs and control characters: what to make of them is not decided here."""
    infos = []
    for name, content in members:
        info = zipfile.ZipInfo("x")
        info.filename = info.orig_filename = name.encode(errors="ignore").decode()
        infos.append((info, content))
    files = [(i.filename, c) for i, c in infos if c or not i.filename.endswith("/")]
    assert contents(zipped(*infos)) == files


def test_zip64_is_read() -> None:
    target = io.BytesIO()
    with (
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.csv", "w", force_zip64=True) as member,
    ):
        member.write(CSV)
    assert contents(target.getvalue()) == [("a.csv", CSV)]


def test_a_zip64_of_70_000_members_is_read_where_that_is_allowed() -> None:
    body = zipped(*((f"{n}.csv", b"") for n in range(70_000)), method=zipfile.ZIP_STORED)
    assert len(opened(body, members=70_000).members) == 70_000


def directory_entry(body: bytes) -> int:
    return body.index(b"PK\x01\x02")


def with_bytes(body: bytes, offset: int, value: bytes) -> bytes:
    return body[:offset] + value + body[offset + len(value) :]


def claiming(body: bytes, size: int) -> bytes:
    """The same zip, whose table of contents and header claim another size of the member."""
    body = with_bytes(body, directory_entry(body) + 24, struct.pack("<I", size))
    return with_bytes(body, 22, struct.pack("<I", size))


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x41])
def test_an_encrypted_member_is_refused_with_that_word(flag: int) -> None:
    body = zipped(("a.csv", CSV))
    marked = with_bytes(body, directory_entry(body) + 8, struct.pack("<H", flag))
    with pytest.raises(UnsupportedArchive, match=r"a\.zip: member 'a\.csv' is encrypted: nothing was"):
        opened(marked)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_a_bound_are_refused(method: int) -> None:
    """Four kilobytes of bzip2 can hold gigabytes, and the library unpacks them at once."""
    with pytest.raises(UnsupportedArchive, match=f"packed by method {method}, and only 0"):
        opened(zipped(("a.csv", CSV), method=method))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_what_is_marked_as_something_else_than_a_file_is_refused(kind: int) -> None:
    info = zipfile.ZipInfo("a.csv")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    with pytest.raises(HostileArchive, match="is a link, folder or device, and no file"):
        opened(zipped((info, b"/etc/passwd")))


def test_attributes_of_another_system_are_no_links() -> None:
    info = zipfile.ZipInfo("a.csv")
    info.create_system, info.external_attr = 0, stat.S_IFLNK << 16
    assert contents(zipped((info, CSV))) == [("a.csv", CSV)]


@pytest.mark.parametrize(
    ("members", "limits"),
    [
        ([(f"{n}.csv", b"") for n in range(4)], {"members": 3}),
        ([("a.csv", os.urandom(101))], {"member_bytes": 100}),
        ([(f"{n}.csv", os.urandom(50)) for n in range(3)], {"total_bytes": 149}),
        ([("a.csv", bytes(10 * RATIO_FROM_BYTES))], {"ratio": MAX_RATIO}),
    ],
)
def test_what_exceeds_a_limit_is_refused_and_the_message_says_which(members, limits) -> None:
    ((limit, value),) = limits.items()
    with pytest.raises(HostileArchive, match=rf"max_{limit}={value} allows") as caught:
        opened(zipped(*members), **limits)
    assert caught.value.limit == limit


@pytest.mark.parametrize(
    ("members", "limits"),
    [
        ([(f"{n}.csv", b"") for n in range(3)], {"members": 3}),
        ([("a.csv", os.urandom(100))], {"member_bytes": 100}),
        ([(f"{n}.csv", os.urandom(50)) for n in range(3)], {"total_bytes": 150}),
        ([("a.csv", bytes(10 * RATIO_FROM_BYTES))], {"ratio": 2000}),
        ([("a.csv", bytes(RATIO_FROM_BYTES))], {"ratio": 1}),
    ],
)
def test_what_keeps_within_a_limit_is_unpacked(members, limits) -> None:
    assert contents(zipped(*members), **limits) == members


def test_a_bomb_that_claims_to_be_small_gives_no_more_than_it_claims() -> None:
    """Zeros that unpack to 100 MB, by their own account 1,000 bytes."""
    archive = opened(claiming(zipped(("a.csv", bytes(100_000_000))), 1000))
    received = 0
    with pytest.raises(DamagedArchive, match="CRC"):
        for chunk in archive.chunks(archive.members[0]):
            received += len(chunk)
    assert received <= 1000


def test_members_that_share_their_bytes_are_refused() -> None:
    """The bomb that needs no other bomb inside: each entry of the table points to the same data."""
    body = zipped(("a.csv", bytes(1_000_000)))
    start, end = directory_entry(body), body.index(b"PK\x05\x06")
    entry, tail = body[start:end], bytearray(body[end:])
    struct.pack_into("<HHI", tail, 8, 100, 100, 100 * len(entry))
    with pytest.raises(HostileArchive, match="max_total_bytes"):
        opened(body[:start] + 100 * entry + tail, total_bytes=99_999_999)


def local_header(size: int, extra: int = 0) -> bytes:
    return struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, size, size, 1, extra) + b"a"


def with_table(data: bytes, *members: tuple[int, int]) -> bytes:
    """A zip of stored members named a, of which each has its offset and its size."""
    table = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, size, size, 1, 0, 0, 0, 0, 0, at) + b"a"
        for at, size in members
    )
    count = len(members)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(table), len(data), 0)
    return data + table + end


HEADER, QUOTING = local_header(1000), local_header(1000, extra=31)
OVERLAPPING = {
    "one place for all": with_table(HEADER + bytes(1000), *[(0, 1000)] * 3),
    "a header within the data of another": with_table(
        local_header(1031) + HEADER + bytes(1000), (0, 1031 + 1), (31, 1000)
    ),
    "data behind an extra field that is another header": with_table(
        QUOTING + HEADER + bytes(1000), (0, 1000), (31, 1000)
    ),
    "more than the file has": with_table(HEADER + bytes(1000), (0, 1_000_000)),
}


@pytest.mark.parametrize("body", OVERLAPPING.values(), ids=OVERLAPPING.keys())
def test_members_that_reach_into_what_follows_them_are_refused_unread(body: bytes) -> None:
    """Not every patch release of Python finds them."""
    with pytest.raises(HostileArchive, match="members share bytes, and nothing was unpacked"):
        opened(body)


def test_what_stands_before_the_zip_or_behind_a_member_does_no_harm() -> None:
    """As of a zip that unpacks itself, and of one written to a stream, with its sizes behind each member."""
    assert contents(b"#!/bin/sh\n" + zipped(("a.csv", CSV), ("b.csv", CSV))) == [
        ("a.csv", CSV),
        ("b.csv", CSV),
    ]
    target = io.BytesIO()
    target.seekable = lambda: False  # type: ignore[method-assign]
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.csv", CSV)
        archive.writestr("b.csv", CSV)
    assert contents(target.getvalue()) == [("a.csv", CSV), ("b.csv", CSV)]


def test_a_table_of_contents_that_would_fill_the_memory_is_not_read() -> None:
    body = zipped(("a.csv", CSV))
    end = body.index(b"PK\x05\x06")
    huge = with_bytes(body, end + 12, struct.pack("<I", 2**31))
    padded = b"\0" * 10 + huge

    class Sparse(io.BytesIO):
        asked = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.asked = max(self.asked, size or 0)
            return super().read(size)

    file = Sparse(padded)
    with pytest.raises(CcaError):
        Archive(file, "a.zip", Limits())
    assert file.asked <= Limits().directory_bytes + 1


@pytest.mark.parametrize("name", ["members", "member_bytes", "total_bytes", "ratio"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "many", None])
def test_a_limit_that_is_no_number_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidArgument, match=f"max_{name} is"):
        Limits(**{name: value})


BODIES = [
    b"", b"PK", b"not a zip at all" * 10, b"<html>503</html>", b"PK\x05\x06" + bytes(18)[:-1],
    zipped(("a.csv", CSV))[:-1], zipped(("a.csv", CSV))[:200], zipped(("a.csv", CSV))[100:],
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_what_is_no_whole_zip_is_damaged(body: bytes) -> None:
    with pytest.raises(DamagedArchive, match=r"^a\.zip"):
        contents(body)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_flipped_bit_in_a_member_is_found(method: int) -> None:
    body = bytearray(zipped(("a.csv", CSV), method=method))
    body[len("a.csv") + 30 + 50] ^= 1
    with pytest.raises(DamagedArchive, match=r"a\.zip: member 'a\.csv' is damaged"):
        contents(bytes(body))


def test_a_member_that_is_shorter_than_it_claims_is_found() -> None:
    """Even though its CRC is right."""
    with pytest.raises(DamagedArchive, match="should have 99999 bytes but has"):
        contents(claiming(zipped(("a.csv", CSV)), 99_999))


@given(st.data())
def test_any_damage_ends_in_one_of_our_errors_or_in_the_right_bytes(data: st.DataObject) -> None:
    body = bytearray(zipped(("a.csv", CSV[:300]), ("b.csv", b"b" * 100), method=zipfile.ZIP_DEFLATED))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)) | st.just(len(body)))
    try:
        found = contents(bytes(body[:cut]))
    except (DamagedArchive, HostileArchive, UnsupportedArchive):
        return
    assert {content for _, content in found} <= {CSV[:300], b"b" * 100, b""}


def test_errors_of_the_store_are_not_taken_for_damage() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("the disk is broken")

    with pytest.raises(StoreError, match=r"a\.zip cannot be read \(the disk is broken\)"):
        Archive(Failing(zipped(("a.csv", CSV))), "a.zip", Limits())


def test_packing_is_gzip_and_the_same_each_time() -> None:
    pieces = [CSV[:1000], b"", CSV[1000:]]
    packed = b"".join(gzipped(iter(pieces)))
    assert gzip.decompress(packed) == CSV
    assert packed == b"".join(gzipped(iter(pieces)))
    assert packed[4:8] == bytes(4)  # no time
    assert packed[3] == 0  # no name


def test_nothing_packed_is_a_gzip_file_too() -> None:
    assert gzip.decompress(b"".join(gzipped(iter([])))) == b""


def test_memory_is_flat_whatever_the_size_of_a_member(tmp_path) -> None:
    """300 MB of zeros, in a process of its own, which takes at most 30 MB more than before."""
    program = textwrap.dedent(
        """
        import resource, sys, zipfile
        from airflow_provider_cca.extract.zip_reader import Archive, Limits, gzipped

        with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            with archive.open("zeros.csv", "w") as member:
                for _ in range(300):
                    member.write(bytes(1 << 20))
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        before = peak()
        with open(sys.argv[1], "rb") as file:
            archive = Archive(file, "a.zip", Limits(ratio=2000))
            for chunk in gzipped(archive.chunks(archive.members[0])):
                pass
        print(peak() - before)
        """
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.zip")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert int(done.stdout) < 30 * 1024
