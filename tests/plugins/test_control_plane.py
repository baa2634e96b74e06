"""The control plane of an envtest-style folder: real etcd where there is one, else stand-ins."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from clusters.assets import Assets, AssetsError
from clusters.controlplane import ControlPlane, apiserver_flags, controller_manager_flags, etcd_flags, scheduler_flags
from clusters.processes import DidNotStartError
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from kubernetes.aio import client, config

STAND_IN = """#!{python}
import http.server, json, os, ssl, sys, time
from pathlib import Path
name = Path(sys.argv[0]).name
flags = dict(flag.removeprefix("--").split("=", 1) for flag in sys.argv[1:])
told = {{**flags, "unsafe": os.environ.get("ETCD_UNSAFE_NO_FSYNC")}}
Path(sys.argv[0]).with_suffix(".told").write_text(json.dumps(told))
print(name, "has started", flush=True)
if Path(sys.argv[0]).with_suffix(".fails").exists():
    sys.exit("flag provided but not defined: -nonsense")
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = ("/health", "/healthz", "/readyz", "/api/v1/namespaces/default")
        self.send_response(200 if self.path in known else 404); self.end_headers()
        self.wfile.write(json.dumps(self.user()).encode())
    def user(self):
        certificate = getattr(self.connection, "getpeercert", dict)() or {{}}
        return [value for part in certificate.get("subject", ()) for _, value in part]
    def log_message(self, *_): pass
plain = name == "etcd"
port = flags["listen-client-urls"].rpartition(":")[2] if plain else flags["secure-port"]
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Answer)
if not plain:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(flags["tls-cert-file"], flags["tls-private-key-file"])
    if "client-ca-file" in flags:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(flags["client-ca-file"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def programs(folder: Path, *names: str) -> Path:
    """A folder with stand-ins of these names."""
    folder.mkdir()
    for name in names:
        (folder / name).write_text(STAND_IN.format(python=sys.executable))
        (folder / name).chmod(0o755)
    return folder


def told(folder: Path, name: str) -> dict[str, str]:
    """The flags that a stand-in was started with."""
    return json.loads((folder / name).with_suffix(".told").read_text())


def running(folder: Path) -> list[str]:
    listed = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(folder) in line]


@pytest.mark.integration
def test_a_whole_control_plane(tmp_path: Path) -> None:
    """Every program gets files that are there and certificates that hold; nothing is left when the owner leaves."""
    folder = programs(tmp_path / "bin", *NAMES)
    with ControlPlane(Assets.find(folder), tmp_path / "state") as plane:
        assert len(running(folder)) == 4
        for name in NAMES:
            for flag, value in told(folder, name).items():
                if flag.endswith("-file") or "kubeconfig" in flag:
                    assert Path(value).stat().st_mode & 0o077 == 0 or not flag.endswith("private-key-file"), flag
        config = yaml.safe_load(plane.kubeconfig.read_text())
        server = config["clusters"][0]["cluster"]["server"]
        assert server == f"https://127.0.0.1:{told(folder, 'kube-apiserver')['secure-port']}"
        assert told(folder, "etcd")["unsafe"] == "true"
        assert told(folder, "kube-apiserver")["etcd-servers"] == told(folder, "etcd")["listen-client-urls"]
    assert running(folder) == []


@pytest.mark.integration
async def test_the_kubeconfig_is_an_administrators(tmp_path: Path) -> None:
    """The official client shows the certificate of a user in system:masters, and trusts the server's."""
    folder = programs(tmp_path / "bin", *NAMES[:2])
    with ControlPlane(Assets.find(folder), tmp_path / "state") as plane:
        configuration = client.Configuration()
        await config.load_kube_config(str(plane.kubeconfig), client_configuration=configuration)
        async with client.ApiClient(configuration) as api:
            answer = await api.call_api(*await api.param_serialize("GET", "/readyz"))
            assert json.loads(await answer.response.read()) == ["system:masters", "admin"]


def test_certificates_are_what_kubernetes_reads(tmp_path: Path) -> None:
    """The server's names its addresses; the two halves of the service-account key belong together."""
    plane = ControlPlane(Assets(tmp_path, tmp_path, None, None), tmp_path / "state")
    plane._write_certificates(6443)
    state = tmp_path / "state"
    server = x509.load_pem_x509_certificate((state / "apiserver.crt").read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "127.0.0.1" in map(str, names.get_values_for_type(x509.IPAddress))
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    private = load_pem_private_key((state / "service-account.key").read_bytes(), None)
    assert private.public_key() == load_pem_public_key((state / "service-account.pub").read_bytes())
    assert b"BEGIN RSA PRIVATE KEY" in (state / "service-account.key").read_bytes()


@pytest.mark.integration
@pytest.mark.parametrize("broken", ["kube-apiserver", "kube-scheduler"])
def test_a_program_that_fails_is_quoted(tmp_path: Path, broken: str) -> None:
    """What it said last is in the message, the log stays, and what had started before is ended."""
    folder = programs(tmp_path / "bin", *NAMES)
    (folder / broken).with_suffix(".fails").touch()
    with pytest.raises(DidNotStartError) as failed, ControlPlane(Assets.find(folder), tmp_path / "state"):
        pass
    assert f"{broken} ended with exit status 1 before it was ready" in str(failed.value)
    assert "flag provided but not defined: -nonsense" in str(failed.value)
    assert "has started" in (tmp_path / "state" / f"{broken}.log").read_text()
    assert running(folder) == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "etcd is missing; `setup-envtest use` installs"),
        (("etcd",), "kube-apiserver is missing"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    """A folder without the two programs is refused before anything starts."""
    with pytest.raises(AssetsError, match=re.escape(said)):
        Assets.find(programs(tmp_path / "bin", *names))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The variable and its value are in the message, and where to get one."""
    with pytest.raises(AssetsError, match=rf"KUBEBUILDER_ASSETS={tmp_path}/no: no such folder; `setup-envtest use -p"):
        Assets.find(tmp_path / "no")


def test_a_program_that_cannot_run_is_named(tmp_path: Path) -> None:
    """An optional program that is there and broken is a mistake, not an absence."""
    folder = programs(tmp_path / "bin", *NAMES)
    (folder / "kube-scheduler").chmod(0o644)
    with pytest.raises(AssetsError, match="kube-scheduler is not executable; chmod"):
        Assets.find(folder)


def test_no_flag_is_given_twice(tmp_path: Path) -> None:
    """A program would take the last one, and say nothing."""
    for flags in (
        etcd_flags(tmp_path, "http://127.0.0.1:1", "http://127.0.0.1:5"),
        apiserver_flags(tmp_path, "http://127.0.0.1:1", 2),
        controller_manager_flags(tmp_path, 3),
        scheduler_flags(tmp_path, 4),
    ):
        names = [flag.partition("=")[0] for flag in flags]
        assert len(names) == len(set(names))


@pytest.mark.integration
def test_real_etcd_takes_its_flags(tmp_path: Path) -> None:
    """It starts, answers and ends; the API server beside it is a stand-in."""
    etcd = shutil.which("etcd", path=os.pathsep.join([os.environ.get("KUBEBUILDER_ASSETS", ""), os.environ["PATH"]]))
    if etcd is None:
        pytest.skip("etcd is neither in KUBEBUILDER_ASSETS nor on PATH")
    folder = programs(tmp_path / "bin", "kube-apiserver")
    (folder / "etcd").symlink_to(etcd)
    with ControlPlane(Assets.find(folder), tmp_path / "state"):
        assert len(running(tmp_path / "state" / "etcd")) == 1
    # A flag it does not know ends it before it says so; other errors are its own connections, cut off as it ends.
    assert "ready to serve client requests" in (tmp_path / "state" / "etcd.log").read_text()
    assert running(tmp_path / "state" / "etcd") == []
