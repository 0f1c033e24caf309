"""The manifest: its format, and what is not taken for one."""

from __future__ import annotations

import json

import pytest

from airflow_provider_cca.landing.manifest import MANIFEST_NAME, LandedFile, Manifest

FILE = {
    "id": "c7779fb1-3cd6-472d-9ef0-cfbee945d13c",
    "name": "Müller/1.csv",
    "key": "M%C3%BCller%2F1.csv",
    "size": 10101,
    "md5": "89e68fa233398deace2300ea6b4e2b48",
    "created_on": "2026-03-01T07:24:24Z",
    "expires_on": None,
    "landed_on": "2026-03-01T08:00:00Z",
}
GONE = {name: FILE[name] for name in ("id", "name", "size", "md5")} | {
    "key": "gone.csv",
    "superseded_on": "2026-03-01T09:00:00Z",
}
BY = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 2}
OPTIONAL = {"created_on", "expires_on", "landed_on"}
WRITTEN = {
    "version": 1,
    "report": "peak_port_daily",
    "partition": {"creation_date": "2026-03-01", "level": "site"},
    "files": [FILE, {**FILE, "key": "b.csv", "size": 5, "expires_on": "2027-03-01T07:24:24Z"}],
    "superseded": [GONE],
    "total_bytes": 10106,
    "written_at": "2026-03-01T09:00:00Z",
    "written_by": BY,
}


def read(**changes: object) -> Manifest:
    return Manifest.from_json(json.dumps({**WRITTEN, **changes}).encode())


def test_the_name_is_one_that_engines_skip():
    assert MANIFEST_NAME == "_manifest.json"


def test_version_1_has_these_fields_in_this_order():
    body = json.loads(read().to_json())
    assert list(body) == list(WRITTEN)
    assert list(body["files"][0]) == list(FILE)
    assert list(body["superseded"][0]) == ["id", "name", "key", "size", "md5", "superseded_on"]


def test_a_manifest_from_before_superseded_files_were_named_is_read():
    old = {name: value for name, value in WRITTEN.items() if name not in ("superseded", "written_by")}
    entry = {name: value for name, value in FILE.items() if name != "landed_on"}
    manifest = Manifest.from_json(json.dumps({**old, "files": [entry]}).encode())
    assert (manifest.superseded, manifest.written_by, manifest.files[0].landed_on) == ((), None, None)


def test_what_is_written_is_what_was_read():
    assert json.loads(read().to_json()) == WRITTEN


def test_the_bytes_are_plain_ascii_and_end_in_a_newline():
    body = read().to_json()
    assert body.isascii()
    assert body.endswith(b"}\n")


def test_a_manifest_is_read_as_values():
    manifest = read()
    assert manifest.files[0] == LandedFile(**FILE)
    assert (manifest.report, manifest.total_bytes) == ("peak_port_daily", 10106)
    assert (manifest.partition, manifest.written_at) == (WRITTEN["partition"], WRITTEN["written_at"])


def test_a_partition_without_files_has_a_manifest_too():
    empty = Manifest.from_json(
        Manifest("cdr", {"creation_date": "2026-03-01", "site": "a"}, (), "2026-03-02T09:00:00Z").to_json()
    )
    assert (empty.files, empty.total_bytes) == ((), 0)


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_another_version_is_not_read(version):
    with pytest.raises(ValueError, match="version"):
        read(version=version)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"5", b'"x"', b"{}", b'{"version": 1}', b"\xff\xfe", b"\x00", b"[" * 100_000],
)
def test_a_damaged_manifest_is_a_value_error(body):
    with pytest.raises(ValueError):
        Manifest.from_json(body)


@pytest.mark.parametrize("name", ["report", "partition", "files", "written_at"])
@pytest.mark.parametrize("value", [None, 5, True, [5]])
def test_a_field_of_another_type_is_damage(name, value):
    with pytest.raises(ValueError, match="no manifest"):
        read(**{name: value})


@pytest.mark.parametrize("value", [None, 5, ["a"], {"site": "a"}])
def test_a_partition_whose_values_are_no_texts_is_damage(value):
    with pytest.raises(ValueError, match="no manifest"):
        read(partition={"creation_date": "2026-03-01", "site": value})


@pytest.mark.parametrize("files", ["", {}, "files"])
def test_files_that_are_no_list_are_damage(files):
    with pytest.raises(ValueError, match="no manifest"):
        read(files=files)


@pytest.mark.parametrize("name", FILE)
@pytest.mark.parametrize("value", [True, 1.5, ["x"]])
def test_an_entry_with_a_field_of_another_type_is_damage(name, value):
    with pytest.raises(ValueError, match="no manifest"):
        read(files=[{**FILE, name: value}])


def test_a_key_that_is_named_with_two_contents_is_damage():
    assert len(read(files=[FILE, {**FILE, "id": "2"}]).files) == 2
    with pytest.raises(ValueError, match="two contents"):
        read(files=[FILE, {**FILE, "md5": "0" * 32}])


@pytest.mark.parametrize("name", sorted(FILE.keys() - OPTIONAL))
def test_an_entry_without_one_of_its_fields_is_damage(name):
    with pytest.raises(ValueError, match="no manifest"):
        read(files=[{other: value for other, value in FILE.items() if other != name}])


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".",
        "..",
        "../a.csv",
        "/etc/passwd",
        "a/b.csv",
        "_manifest.json",
        "_coverage.json",
        ".hidden",
        "a\0b",
        "\ud800",
        "x" * 256,
    ],
)
def test_an_entry_with_an_impossible_key_is_damage(key):
    with pytest.raises(ValueError, match="none that a landing gives"):
        read(files=[{**FILE, "key": key}])
