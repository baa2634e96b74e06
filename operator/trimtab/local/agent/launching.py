"""From a container's spec to the process that stands for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from trimtab.local.access.podaccounts import MOUNT
from trimtab.local.access.tokens import POD_SECONDS
from trimtab.local.agent.container import Launch
from trimtab.local.agent.environment import Sources, environment_of, expanded
from trimtab.local.agent.handlers import Surroundings
from trimtab.local.agent.images import argv_of, image_command
from trimtab.local.agent.paths import PathMap
from trimtab.local.agent.processes import MARKER
from trimtab.local.agent.volumes import made_volumes
from trimtab.local.objects import Object

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MESSAGE_PATH = "/dev/termination-log"


@dataclass(frozen=True, slots=True)
class Host:
    """What pods get from the machine they really run on.

    Attributes:
        cluster: identifies the cluster in the environment of its processes.
        images: patterns of image names and the start of the command line each stands for.
        environ: the variables that containers inherit: PATH and those passed through by configuration.
        token: a token of a pod's service account for some audiences (none: the API server's) and seconds;
            raises ConfigError where the account is not there.
        kubeconfig: the text of a kubeconfig for whoever a token stands for, and a namespace.
        directory: for pods; each gets a short-named folder of its own, as socket paths are limited to 107 bytes.
    """

    cluster: str
    images: Mapping[str, Sequence[str]]
    environ: Mapping[str, str]
    token: Callable[[Object, Sequence[str], int], str]
    kubeconfig: Callable[[str, str], str]
    directory: Path
    http: aiohttp.ClientSession


def inherited(environ: Mapping[str, str], pass_through: Sequence[str]) -> dict[str, str]:
    """The few variables that a container gets from the user's environment."""
    kept = {name: environ[name] for name in pass_through if name in environ}
    return {"PATH": environ.get("PATH", _SYSTEM_PATH), "LANG": "C.UTF-8", **kept}


def folder_name(pod: Object) -> str:
    """The folder of a pod: short, and the same whenever the pod is run."""
    return str(pod["metadata"]["uid"]).replace("-", "")[-12:]


class Launcher:
    """Makes the runs of one pod's containers."""

    root: Path

    def __init__(self, pod: Object, address: str, host: Host, sources: Sources) -> None:
        self._pod = pod
        self._address = address
        self._host = host
        self._sources = sources
        self.root = host.directory / folder_name(pod)
        self.root.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.root / "api", ignore_errors=True)  # an earlier cluster's address and token

    def launch(self, container: Object, run: int) -> Launch:
        """One run of a container.

        Raises:
            ConfigError: Something its configuration names is missing or not supported.
            UnknownImageError: Its image maps to no command.
        """
        name = container["name"]
        prefix = image_command(container["image"], self._host.images)
        home = self.root / name
        home.mkdir(exist_ok=True)
        message = self.root / f"{name}.{run}.message"
        message.touch()
        paths = self._paths(container, message)
        variables = self._variables(container, home, message)
        if container.get("tty"):
            variables["TERM"] = "xterm"
        for key, value in environment_of(container, self._sources).items():
            variables[key] = paths.rewritten(value)
        argv = [paths.rewritten(expanded(part, variables)) for part in argv_of(container, prefix)]
        workdir = container.get("workingDir")
        around = Surroundings(
            address=self._address,
            ports={p["name"]: int(p["containerPort"]) for p in container.get("ports") or () if p.get("name")},
            env=variables,
            cwd=Path(paths.rewritten(workdir)) if workdir else home,
            command=lambda argv: [paths.rewritten(part) for part in argv],
            http=self._host.http,
            mounts=paths.mounts,
        )
        return Launch(argv, around, message)

    def follow(self, pod: Object) -> None:
        """The pod's labels or annotations changed; what is made from now on shows them."""
        self._pod = pod
        self._sources = replace(self._sources, pod=pod)

    def refresh(self) -> None:
        """Bring ConfigMap and Secret volumes up to date."""
        made_volumes(self._pod, self.root / "v", self._sources, self._token)

    def _paths(self, container: Object, message: Path) -> PathMap:
        places = made_volumes(self._pod, self.root / "v", self._sources, self._token)
        mounts = [(container.get("terminationMessagePath") or _MESSAGE_PATH, message)]
        for mount in container.get("volumeMounts") or ():
            if mount["name"] in places:
                place = places[mount["name"]] / (mount.get("subPath") or "")
                mounts.append((mount["mountPath"], place))
        return PathMap(mounts)

    def _variables(self, container: Object, home: Path, message: Path) -> dict[str, str]:
        metadata = self._pod["metadata"]
        temporary = self.root / "tmp"
        temporary.mkdir(exist_ok=True)
        variables = {
            **self._host.environ,
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "HOSTNAME": self._pod["spec"].get("hostname") or metadata["name"],
            "TERMINATION_MESSAGE_PATH": str(message),
            MARKER: f"{self._host.cluster}/{metadata['uid']}/{container['name']}/",
        }
        if any(mount["mountPath"] == MOUNT for mount in container.get("volumeMounts") or ()):
            variables["KUBECONFIG"] = str(self._kubeconfig())
        return variables

    def _token(self, audiences: Sequence[str], seconds: int) -> bytes:
        return self._host.token(self._pod, audiences, seconds).encode()

    def _kubeconfig(self) -> Path:
        """A kubeconfig for the pod's service account: clients look there before they look for the mounted token."""
        file = self.root / "api" / "kubeconfig"
        if file.is_file():
            return file
        token = self._host.token(self._pod, (), POD_SECONDS)
        text = self._host.kubeconfig(token, self._pod["metadata"]["namespace"])
        file.parent.mkdir(mode=0o700, exist_ok=True)
        fresh = file.with_name("kubeconfig.new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
            opened.write(text)
        return fresh.replace(file)
