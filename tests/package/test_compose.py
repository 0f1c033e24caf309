"""What docker-compose.yaml must hold, and what its .env; tests/live/test_compose.py runs it."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.support import compose_file
from tests.support.compose_file import ROOT

PROFILES: list[list[str]] = [[], ["celery"]]
SERVICES = compose_file.as_written()
LASTING = {name: service for name, service in SERVICES.items() if service["restart"] != "no"}
DOCKERFILE = ROOT / "docker" / "Dockerfile"


@pytest.fixture(scope="module")
def env_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compose_file.make_env(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="module")
def env(env_file: Path) -> dict[str, str]:
    return compose_file.dotenv(env_file)


@pytest.fixture(scope="module")
def services(env: dict[str, str]) -> dict[str, compose_file.Service]:
    return compose_file.services(env, ["celery"])


def test_it_has_all_of_airflow_a_database_a_store_and_the_simulator():
    airflow = {"apiserver", "scheduler", "dag-processor", "triggerer", "init"}
    names = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert names == {f"airflow-{each}" for each in airflow} | {"postgres", "s3", "simulator"}


def test_the_workers_and_their_queue_come_with_the_profile_celery_alone():
    profiles = {name: s["profiles"] for name, s in SERVICES.items() if "profiles" in s}
    assert profiles == {"redis": ["celery"], "airflow-worker": ["celery"]}


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_runs_as_root_or_can_become_it(name):
    service = SERVICES[name]
    user, _, _ = service["user"].partition(":")
    assert int(user) > 0
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned(name):
    assert re.search(r":\d+\.\d+", SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_port_is_open_to_this_machine_alone(name):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", LASTING)
def test_every_lasting_service_tells_whether_it_is_well(name):
    check = LASTING[name]["healthcheck"]
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


def test_no_look_at_a_services_health_starts_an_airflow():
    """`airflow jobs check` costs seconds of CPU each time."""
    assert not [
        name for name, s in LASTING.items() if re.search(r"\bairflow ", str(s["healthcheck"]["test"]))
    ]


def test_all_wait_for_what_they_need():
    for name, service in SERVICES.items():
        if name.startswith("airflow-") and name != "airflow-init":
            assert service["depends_on"]["airflow-init"] == {"condition": "service_completed_successfully"}
    needed = {name: wanted["condition"] for name, wanted in SERVICES["airflow-init"]["depends_on"].items()}
    assert needed == {"postgres": "service_healthy", "s3": "service_healthy"}


def test_dags_cannot_be_changed_from_inside():
    mounts = {m for s in SERVICES.values() for m in s.get("volumes", []) if m.startswith("./")}
    assert mounts and all(mount.endswith(":ro") for mount in mounts)


def test_every_secret_must_be_given_and_none_is_written_down():
    secret = re.compile(r"PASSWORD|SECRET|KEY|_CONN|BROKER|BACKEND|CLI_AUTH")
    values = {
        name: value
        for service in SERVICES.values()
        for name, value in (service.get("environment") or {}).items()
        if secret.search(name)
    }
    assert len(values) >= 13
    assert {name: value for name, value in values.items() if ":?run make env}" not in value} == {}


def test_no_secret_is_on_a_command_line(env, services):
    """The list of processes shows them to everybody, those of health checks too."""
    secrets = {v for name, v in env.items() if name.endswith(("PASSWORD", "SECRET", "KEY"))}
    given = [(s.get("command") or []) + s.get("healthcheck", {}).get("test", []) for s in services.values()]
    words = [word for command in given for word in command]
    assert len(secrets) >= 7
    assert [word for word in words if any(secret in word for secret in secrets)] == []
    options = [
        word for word in words if re.search(r"(-a|--pass|--password|--broker|--requirepass)[ =]", word)
    ]
    assert options == []


def test_the_administrator_is_made_without_the_password_on_a_command_line(tmp_path, monkeypatch):
    fake = tmp_path / "airflow"
    fake.write_text(f'#!/bin/sh\necho "$@ <$(cat)>" >>{tmp_path}/calls\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("ADMIN_PASSWORD", "hunter2")
    monkeypatch.setenv("AIRFLOW_VAR_CCA_STORAGE", str(tmp_path))
    runpy.run_path(str(ROOT / "docker" / "prepare.py"), run_name="__main__")
    calls = (tmp_path / "calls").read_text()
    assert calls.count("hunter2") == 2
    assert "users create --username admin --role Admin" in calls
    assert re.search(r"<hunter2\nhunter2>$", calls)


def test_without_an_env_file_it_says_what_to_run():
    with pytest.raises(KeyError, match="run make env"):
        compose_file.services({})


def test_the_command_writes_other_secrets_each_time(env, tmp_path):
    others = compose_file.dotenv(compose_file.make_env(tmp_path))
    same = {name for name in env if env[name] == others[name]}
    assert same == {"AIRFLOW_EXECUTOR", "AIRFLOW_VAR_CCA_STORAGE"}


def test_the_command_leaves_an_env_file_alone_that_is_there(tmp_path):
    file = compose_file.make_env(tmp_path)
    before = file.read_text()
    with pytest.raises(subprocess.CalledProcessError) as refused:
        compose_file.make_env(tmp_path)
    assert b"is there already" in refused.value.stderr
    assert file.read_text() == before


def test_only_its_owner_can_read_the_env_file_and_git_leaves_it_out(env_file):
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


def test_the_secrets_are_long_enough(env):
    assert len(env["JWT_SECRET"]) >= 64  # for HS512, which Airflow signs with
    Fernet(env["FERNET_KEY"])
    assert (
        min(len(value) for name, value in env.items() if name.endswith(("PASSWORD", "SECRET", "KEY"))) >= 16
    )


def test_the_connection_leads_to_the_simulator(env, services, monkeypatch):
    from airflow.sdk import Connection

    from airflow_provider_cca.integration.connection import config_from
    from airflow_provider_cca.simulator.__main__ import arguments, simulator

    config = config_from(Connection.from_json(env["AIRFLOW_CONN_CCA_DEFAULT"], "cca_default"))
    monkeypatch.setenv(
        "CCA_SIMULATOR_PASSWORD", services["simulator"]["environment"]["CCA_SIMULATOR_PASSWORD"]
    )
    served = simulator(arguments(services["simulator"]["command"][3:]))
    assert (config.account, config.password.open(), config.port) == (
        served.account,
        served.password,
        served.port,
    )
    assert config.host in services


def test_the_connection_leads_to_the_store(env, services):
    connection = json.loads(env["AIRFLOW_CONN_AWS_DEFAULT"])
    store = services["s3"]["environment"]
    assert connection["login"] == store["AWS_ACCESS_KEY_ID"]
    assert connection["password"] == store["AWS_SECRET_ACCESS_KEY"]
    assert connection["extra"]["endpoint_url"] == "http://s3:8333"


def test_the_store_reports_to_nobody():
    """As `weed mini` does once a day, unless it is told not to."""
    assert "-master.telemetry=false" in SERVICES["s3"]["command"]


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "http://localhost:8080"),
        ({"AIRFLOW_PORT": "9090"}, "http://localhost:9090"),
        ({"AIRFLOW__API__BASE_URL": "https://a.example/b", "AIRFLOW_PORT": "9090"}, "https://a.example/b"),
    ],
)
def test_the_address_of_airflow_is_the_one_of_the_env_file(env, given, address):
    service = compose_file.services(env | given)["airflow-scheduler"]
    assert service["environment"]["AIRFLOW__API__BASE_URL"] == address


def password_with_everything(env_file: Path) -> str:
    """The line of a connection whose password is written as the comment in .env says."""
    written = {"'": r"\u0027", '"': r"\"", "\\": r"\\", "$": "$"}
    (comment,) = [line for line in env_file.read_text().splitlines() if "In a password write" in line]
    assert comment.endswith(r"""write ' as \u0027, " as \" and \ as \\; a $ stays as it is.""")
    return f"""'{{"conn_type": "cca", "login": "l", "password": "a{"".join(written.values())}z"}}'"""


def test_a_password_may_hold_any_sign(env_file, tmp_path):
    from airflow.sdk import Connection

    line = f"AIRFLOW_CONN_CCA_DEFAULT={password_with_everything(env_file)}\n"
    file = tmp_path / ".env"
    file.write_text(
        re.sub(r"^AIRFLOW_CONN_CCA_DEFAULT=.*\n", lambda _: line, env_file.read_text(), flags=re.M)
    )
    found = [compose_file.services(compose_file.dotenv(file))]
    if command := compose_file.compose_command():
        asked = [
            *command,
            "--file",
            str(compose_file.FILE),
            "--env-file",
            str(file),
            "config",
            "--format",
            "json",
        ]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=True)
        # In its output a dollar is written twice.
        found.append(json.loads(done.stdout.replace("$$", "$"))["services"])
    for services in found:
        given = services["airflow-scheduler"]["environment"]["AIRFLOW_CONN_CCA_DEFAULT"]
        assert Connection.from_json(given, conn_id="c").password == "a'\"\\$z"


@pytest.fixture
def create_bucket(monkeypatch):
    """What the service airflow-init does last; without any rights but those of a connection."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    return runpy.run_path(str(ROOT / "docker" / "prepare.py"))["create_bucket"]


def test_the_bucket_is_created_once(create_bucket, s3, capsys):
    for _ in range(2):
        create_bucket("s3://aws_default@made-by-init/cca")
    assert "made-by-init" in {bucket["Name"] for bucket in s3.client.list_buckets()["Buckets"]}
    assert "could not" not in capsys.readouterr().out


@pytest.mark.parametrize("conn_id", ["made_in_the_ui", "nobody_there"])
def test_the_stack_comes_up_though_the_store_cannot_be_asked(create_bucket, conn_id, monkeypatch, capsys):
    """Its connection is yet to be made, or leads to nothing; everything waits for this service."""
    extra = {"endpoint_url": "http://127.0.0.1:1", "config_kwargs": {"retries": {"max_attempts": 0}}}
    connection = {"conn_type": "aws", "login": "k", "password": "hunter2", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_NOBODY_THERE", json.dumps(connection))
    create_bucket(f"s3://{conn_id}@bucket/cca")
    said = [line for line in capsys.readouterr().out.splitlines() if "see to it yourself" in line]
    assert len(said) == 1
    assert said[0].startswith("The bucket bucket could not be checked or created, see to it yourself: ")
    assert "hunter2" not in said[0]


def test_image_and_dockerfile_name_the_airflow_that_is_tested():
    (version,) = re.findall(r"^ARG AIRFLOW_VERSION=(\S+)$", DOCKERFILE.read_text(), re.M)
    images = {s["image"] for s in SERVICES.values() if "build" in s}
    assert images == {f"airflow-with-cca:{version}"}
    assert f'"apache-airflow[postgres]~={version}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("profiles", PROFILES, ids=str)
def test_docker_compose_reads_the_file_as_we_do(profiles, env, env_file):
    command = compose_file.compose_command()
    if command is None:
        pytest.skip("docker compose 2 is not installed: .ci/compose fetches it, where it can be had")
    options = [f"--profile={profile}" for profile in profiles]
    files = ["--file", str(compose_file.FILE), "--env-file", str(env_file)]
    # Its own variables, such as the executor, would win over the file's.
    clean = {name: value for name, value in os.environ.items() if name not in env}
    done = subprocess.run(
        [*command, *files, *options, "config", "--format", "json"],
        capture_output=True, text=True, timeout=120, check=False, env=clean,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs, ours = json.loads(done.stdout)["services"], compose_file.services(env, profiles)
    assert {name: _essence(service) for name, service in theirs.items()} == {
        name: _essence(service) for name, service in ours.items()
    }


def _essence(service: compose_file.Service) -> tuple[object, ...]:
    """What a service runs, with what, after whom; without what compose adds or writes in a longer form."""
    # In its output a dollar is written twice, so that the output is a compose file again.
    check = [word.replace("$$", "$") for word in service.get("healthcheck", {}).get("test", [])]
    after = {name: wanted["condition"] for name, wanted in (service.get("depends_on") or {}).items()}
    return (
        service["image"],
        service["user"],
        [word.replace("$$", "$") for word in service.get("command") or []],
        service.get("environment") or {},
        check,
        after,
        len(service.get("volumes") or []),
        len(service.get("ports") or []),
    )


def test_the_dockerfile_has_no_known_flaw():
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed: its wheel is for Linux on x86-64 alone")
    done = subprocess.run(
        [hadolint, str(DOCKERFILE)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
