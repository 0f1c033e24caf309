"""The arguments of operators: which forms of a list they take, and what is templated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cca import operators
from airflow_provider_cca.errors import InvalidArgument
from airflow_provider_cca.integration.arguments import site_name, site_names
from airflow_provider_cca.integration.compat import AirflowFailException
from airflow_provider_cca.operators import CcaDownloadFilesOperator, CcaListFilesOperator
from airflow_provider_cca.simulator import Simulator
from tests.support.tree import tree


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("a site", ["a site"]),
        (["a", "b", "a"], ["a", "b"]),
        ("['a', 'b']", ["a", "b"]),
        ('["a", "b"]', ["a", "b"]),
        (" ['it\\'s']\n", ["it's"]),
        (4711, ["4711"]),
        ([4711, "b"], ["4711", "b"]),
        ("[not a list", ["[not a list"]),
        ("{a}", ["{a}"]),
        (["['a', 'b']", "None"], ["['a', 'b']", "None"]),
        ([], []),
        ("[]", []),
        ("None", []),
        (None, []),
    ],
)
def test_sites_are_a_name_or_a_list_also_as_templates_render_it(value: Any, names: list[str]) -> None:
    assert site_names(value) == names


@pytest.mark.parametrize("value", [[["a"]], {"a": 1}, True, [None], "[['a']]"])
def test_what_names_no_sites_is_refused_with_its_value(value: Any) -> None:
    with pytest.raises(InvalidArgument, match="site must be a name or a list of names, got "):
        site_names(value)


def test_an_operator_of_one_site_says_how_to_give_it_several() -> None:
    with pytest.raises(InvalidArgument, match=r"one name here, got 2: .* \.expand\(site=…\)"):
        site_name("['a', 'b']")


@pytest.mark.parametrize(
    "written", [list, str, json.dumps, lambda files: str(files[0]), lambda files: files[0]]
)
def test_files_are_taken_as_a_list_as_its_text_and_as_one_file(
    sim: Simulator, run: Any, day: str, tmp_path: Path, written: Any
) -> None:
    files = run(CcaListFilesOperator(task_id="l", report="cdr_compressed", partition=day))[:1]
    (tmp_path / "once").mkdir()
    done = run(
        CcaDownloadFilesOperator(task_id="t", files=written(files), destination=str(tmp_path / "once"))
    )
    assert done["files"] == 1
    assert [name for name in tree(tmp_path) if name.endswith(files[0]["name"])]


@pytest.mark.parametrize("files", ["text", 7, "['text']"])
def test_what_is_no_list_of_files_is_refused(run: Any, tmp_path: Path, files: Any, sim: Simulator) -> None:
    land = CcaDownloadFilesOperator(task_id="t", files="{{ params.files }}", destination=str(tmp_path))
    with pytest.raises(AirflowFailException, match="files is not a list"):
        run(land, params={"files": files})


@pytest.mark.parametrize("name", [name for name in operators.__all__ if name != "CcaExtractOperator"])
def test_the_connection_of_each_operator_is_templated(name: str) -> None:
    assert "cca_conn_id" in getattr(operators, name).template_fields
