"""etcd and a real kube-apiserver, with kube-controller-manager and kube-scheduler where they are there."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml
from clusters.assets import Assets
from clusters.certificates import Authority, Pair, service_account_keys
from clusters.processes import OwnedProcess

HOST = "127.0.0.1"
SERVICES = "10.0.0.0/24"  # nobody forwards these addresses
_READY_WITHIN_S = 90.0


def etcd_flags(data: Path, client_url: str, peer_url: str) -> list[str]:
    """Flags of etcd 3.4 to 3.6; nobody is its peer."""
    return [
        f"--data-dir={data}",
        f"--listen-client-urls={client_url}",
        f"--advertise-client-urls={client_url}",
        f"--listen-peer-urls={peer_url}",
    ]


def apiserver_flags(folder: Path, etcd_url: str, port: int) -> list[str]:
    """Flags of kube-apiserver 1.30 to 1.36.

    Without controllers nobody makes the service account that pods name by default, so its admission plugin is off; it
    stays off with controllers, so that pods read the same.
    """
    return [
        f"--etcd-servers={etcd_url}",
        f"--bind-address={HOST}",
        f"--advertise-address={HOST}",
        f"--secure-port={port}",
        f"--cert-dir={folder}",
        f"--tls-cert-file={folder / 'apiserver.crt'}",
        f"--tls-private-key-file={folder / 'apiserver.key'}",
        f"--client-ca-file={folder / 'ca.crt'}",
        "--authorization-mode=RBAC",
        "--allow-privileged=true",
        "--disable-admission-plugins=ServiceAccount",
        f"--service-cluster-ip-range={SERVICES}",
        f"--service-account-issuer=https://{HOST}:{port}/",
        f"--service-account-key-file={folder / 'service-account.pub'}",
        f"--service-account-signing-key-file={folder / 'service-account.key'}",
    ]


def controller_manager_flags(folder: Path, port: int) -> list[str]:
    """Flags of kube-controller-manager 1.30 to 1.36."""
    return [
        *_component_flags(folder, port),
        f"--service-account-private-key-file={folder / 'service-account.key'}",
        f"--root-ca-file={folder / 'ca.crt'}",
    ]


def scheduler_flags(folder: Path, port: int) -> list[str]:
    """Flags of kube-scheduler 1.30 to 1.36."""
    return _component_flags(folder, port)


def _component_flags(folder: Path, port: int) -> list[str]:
    kubeconfig = folder / "kubeconfig"
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={HOST}",
        f"--secure-port={port}",
        f"--cert-dir={folder}",
        f"--tls-cert-file={folder / 'apiserver.crt'}",
        f"--tls-private-key-file={folder / 'apiserver.key'}",
        "--leader-elect=false",
    ]


def kubeconfig(server: str, authority: bytes, admin: Pair) -> str:
    """A kubeconfig (YAML) that holds everything it takes."""
    encoded = [base64.b64encode(part).decode() for part in (authority, admin.public, admin.private)]
    name = "control-plane"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": encoded[0]}}],
        "users": [{"name": name, "user": {"client-certificate-data": encoded[1], "client-key-data": encoded[2]}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "current-context": name,
    }
    return yaml.safe_dump(config, sort_keys=False)


class ControlPlane:
    """`with ControlPlane(assets, folder) as plane:` runs one; its state, certificates and logs lie in the folder.

    Raises DidNotStartError with the end of the log of what did not start; then nothing is left running.
    """

    def __init__(self, assets: Assets, folder: Path, *, controllers: bool = True) -> None:
        self._assets = assets
        self._folder = folder
        self._controllers = controllers
        self._owned = contextlib.ExitStack()
        self._trust: ssl.SSLContext
        self.kubeconfig = folder / "kubeconfig"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._owned.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owned.close()

    def _start(self) -> None:
        etcd_port, peer_port, api_port, *ports = _free_ports(5)
        self._write_certificates(api_port)
        etcd_url = f"http://{HOST}:{etcd_port}"
        flags = etcd_flags(self._folder / "etcd", etcd_url, f"http://{HOST}:{peer_port}")
        etcd = self._run(self._assets.etcd, flags, {"ETCD_UNSAFE_NO_FSYNC": "true"})  # older ones only warn of it
        etcd.wait_until(lambda: _answers(etcd_port, "/health"), _READY_WITHIN_S)
        apiserver = self._run(self._assets.apiserver, apiserver_flags(self._folder, etcd_url, api_port))
        for path in ("/readyz", "/api/v1/namespaces/default"):  # the server makes that namespace some time after
            apiserver.wait_until(lambda path=path: _answers(api_port, path, self._trust), _READY_WITHIN_S)
        if not self._controllers:
            return
        optional = (
            (self._assets.controller_manager, controller_manager_flags),
            (self._assets.scheduler, scheduler_flags),
        )
        for (program, made), port in zip(optional, ports, strict=True):
            if program is not None:
                component = self._run(program, made(self._folder, port))
                component.wait_until(lambda port=port: _answers(port, "/healthz", self._trust), _READY_WITHIN_S)

    def _run(self, program: Path, flags: list[str], environment: dict[str, str] | None = None) -> OwnedProcess:
        process = OwnedProcess([str(program), *flags], self._folder / f"{program.name}.log", environment)
        self._owned.callback(process.stop)
        return process

    def _write_certificates(self, port: int) -> None:
        authority = Authority("control-plane-ca")
        hosts = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        server = authority.server("kube-apiserver", hosts, [HOST, SERVICES.replace(".0/24", ".1")])
        admin = authority.client("admin", "system:masters")
        account = service_account_keys()
        files = {
            "ca.crt": authority.certificate,
            "apiserver.crt": server.public,
            "apiserver.key": server.private,
            "admin.pem": admin.public + admin.private,
            "service-account.pub": account.public,
            "service-account.key": account.private,
            "kubeconfig": kubeconfig(f"https://{HOST}:{port}", authority.certificate, admin).encode(),
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = self._folder / name
            path.touch(mode=0o600)
            path.write_bytes(content)
        self._trust = ssl.create_default_context(cafile=str(self._folder / "ca.crt"))
        self._trust.load_cert_chain(self._folder / "admin.pem")


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has now, all different."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [int(listener.getsockname()[1]) for listener in found]


def _answers(port: int, path: str, trust: ssl.SSLContext | None = None) -> bool:
    """Whether 200 is what a GET brings."""
    if trust is None:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
    else:
        connection = http.client.HTTPSConnection(HOST, port, timeout=5, context=trust)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
