"""Tables: the columns of every kind, and what stands in them."""

from typing import Any

import pytest

from trimtab.local.apiserver.negotiation import Form
from trimtab.local.apiserver.tables import table_of
from trimtab.local.catalog import Catalog
from trimtab.local.kinds.podcolumns import summary_of
from trimtab.local.kinds.printers import COLUMNS, columns_of
from trimtab.local.kinds.printing import printer_columns

NOW = "2026-01-01T01:00:00Z"
START = "2026-01-01T00:00:00Z"
CREATED = "2026-01-01T00:55:00Z"


def cells(resource: str, obj: dict[str, Any]) -> dict[str, Any]:
    whole = {"metadata": {"name": "x", "creationTimestamp": CREATED, **obj.pop("metadata", {})}, **obj}
    return {column.name: column.cell(whole, NOW) for column in columns_of(resource)}


@pytest.mark.parametrize(
    ("resource", "names", "wide"),
    [
        ("pods", "Name Ready Status Restarts Age", "IP Node Nominated_Node Readiness_Gates"),
        ("deployments.apps", "Name Ready Up-to-date Available Age", "Containers Images Selector"),
        ("replicasets.apps", "Name Desired Current Ready Age", "Containers Images Selector"),
        ("statefulsets.apps", "Name Ready Age", "Containers Images"),
        (
            "daemonsets.apps",
            "Name Desired Current Ready Up-to-date Available Node_Selector Age",
            "Containers Images Selector",
        ),
        ("jobs.batch", "Name Status Completions Duration Age", "Containers Images Selector"),
        (
            "cronjobs.batch",
            "Name Schedule Timezone Suspend Active Last_Schedule Age",
            "Containers Images Selector",
        ),
        ("services", "Name Type Cluster-IP External-IP Port(s) Age", "Selector"),
        ("endpoints", "Name Endpoints Age", ""),
        ("endpointslices.discovery.k8s.io", "Name AddressType Ports Endpoints Age", ""),
        ("nodes", "Name Status Roles Age Version", "Internal-IP External-IP OS-Image Kernel-Version Container-Runtime"),
        ("events", "Last_Seen Type Reason Object Message", "Subobject Source First_Seen Count Name"),
        ("namespaces", "Name Status Age", ""),
        ("configmaps", "Name Data Age", ""),
        ("secrets", "Name Type Data Age", ""),
        ("serviceaccounts", "Name Secrets Age", ""),
        ("rolebindings.rbac.authorization.k8s.io", "Name Role Age", "Users Groups ServiceAccounts"),
        ("roles.rbac.authorization.k8s.io", "Name Created_At", ""),
        ("customresourcedefinitions.apiextensions.k8s.io", "Name Created_At", ""),
        ("poddisruptionbudgets.policy", "Name Min_Available Max_Unavailable Allowed_Disruptions Age", ""),
        ("horizontalpodautoscalers.autoscaling", "Name Reference Targets MinPods MaxPods Replicas Age", ""),
        ("ingresses.networking.k8s.io", "Name Class Hosts Address Ports Age", ""),
        ("networkpolicies.networking.k8s.io", "Name Pod-Selector Age", ""),
        ("leases.coordination.k8s.io", "Name Holder Age", ""),
        ("priorityclasses.scheduling.k8s.io", "Name Value Global-Default Age PreemptionPolicy", ""),
        (
            "storageclasses.storage.k8s.io",
            "Name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age",
            "",
        ),
        ("resourcequotas", "Name Request Limit Age", ""),
        (
            "persistentvolumeclaims",
            "Name Status Volume Capacity Access_Modes StorageClass VolumeAttributesClass Age",
            "VolumeMode",
        ),
        ("controllerrevisions.apps", "Name Controller Revision Age", ""),
    ],
)
def test_columns(resource: str, names: str, wide: str):
    """Every kind has the columns that people know, some of them for -o wide only."""
    shown = [c.name.replace(" ", "_") for c in columns_of(resource) if not c.priority]
    assert shown == names.split()
    assert [c.name.replace(" ", "_") for c in columns_of(resource) if c.priority] == wide.split()


@pytest.mark.parametrize("resource", [*COLUMNS, ""])
def test_columns_of_an_empty_object(resource: str):
    """An object that says nothing has a cell of the right kind in every column."""
    for name, cell in cells(resource, {"metadata": {"annotations": None, "labels": None}}).items():
        assert cell is None or isinstance(cell, str | int | bool), name


def container(name: str = "c", **state: Any) -> dict[str, Any]:
    more = {key: state.pop(key) for key in ("ready", "restartCount", "started", "lastState") if key in state}
    return {"name": name, "state": state, **more}


RUNNING = container(running={}, ready=True)
INIT = {"containers": [{"name": "c"}], "initContainers": [{"name": "i"}, {"name": "j"}]}
SIDECAR = {"containers": [{"name": "c"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "j"}]}
DONE = {"exitCode": 0, "reason": "Completed"}


@pytest.mark.parametrize(
    ("spec", "status", "metadata", "expected"),
    [
        (None, {"phase": "Running", "containerStatuses": [RUNNING]}, {}, ("1/1", "Running", "0")),
        (None, {"phase": "Pending", "reason": "Evicted"}, {}, ("0/1", "Evicted", "0")),
        (
            None,
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
            {},
            ("0/1", "SchedulingGated", "0"),
        ),
        (
            None,
            {"phase": "Running", "containerStatuses": [container(terminated={"signal": 9})]},
            {},
            ("0/1", "Signal:9", "0"),
        ),
        (None, {"phase": "Running", "containerStatuses": [container(terminated={})]}, {}, ("0/1", "ExitCode:0", "0")),
        (
            None,
            {"phase": "Running", "containerStatuses": [container(terminated=DONE), RUNNING]},
            {},
            ("1/1", "NotReady", "0"),
        ),
        (
            None,
            {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [container(terminated=DONE), RUNNING],
            },
            {},
            ("1/1", "Running", "0"),
        ),
        (
            None,
            {"phase": "Running", "containerStatuses": [RUNNING]},
            {"deletionTimestamp": NOW},
            ("1/1", "Terminating", "0"),
        ),
        (None, {"phase": "Succeeded"}, {"deletionTimestamp": NOW}, ("0/1", "Succeeded", "0")),
        (None, {"phase": "Running", "reason": "NodeLost"}, {"deletionTimestamp": NOW}, ("0/1", "Unknown", "0")),
        (
            INIT,
            {"phase": "Pending", "initContainerStatuses": [container("i", terminated={"exitCode": 0}), container("j")]},
            {},
            ("0/1", "Init:1/2", "0"),
        ),
        (
            INIT,
            {
                "phase": "Pending",
                "initContainerStatuses": [
                    container("i", waiting={"reason": "CrashLoopBackOff"}, restartCount=3),
                    container("j", restartCount=9),
                ],
            },
            {},
            ("0/1", "Init:CrashLoopBackOff", "3"),
        ),
        (
            INIT,
            {"phase": "Pending", "initContainerStatuses": [container("i", terminated={"exitCode": 2})]},
            {},
            ("0/1", "Init:ExitCode:2", "0"),
        ),
        (
            INIT,
            {
                "phase": "Running",
                "initContainerStatuses": [container("i", terminated={"exitCode": 0}, restartCount=5)],
                "containerStatuses": [container(running={}, ready=True, restartCount=1)],
            },
            {},
            ("1/1", "Running", "1"),
        ),
        (
            SIDECAR,
            {
                "phase": "Running",
                "initContainerStatuses": [
                    container("s", running={}, ready=True, started=True, restartCount=2),
                    container("j", terminated={"exitCode": 0}),
                ],
                "containerStatuses": [RUNNING],
            },
            {},
            ("2/2", "Running", "2"),
        ),
        (
            SIDECAR,
            {
                "phase": "Pending",
                "initContainerStatuses": [
                    container("s", running={}, ready=True, started=True),
                    container("j", waiting={"reason": "PodInitializing"}),
                ],
            },
            {},
            ("1/2", "Init:1/2", "0"),
        ),
    ],
)
def test_pods(spec: Any, status: Any, metadata: Any, expected: tuple[str, str, str]):
    """Ready containers of all, the most telling word, and the restarts that still matter."""
    pod = {"metadata": metadata, "spec": spec or {"containers": [{"name": "c"}]}, "status": status}
    found = cells("pods", pod)
    assert (found["Ready"], found["Status"], found["Restarts"]) == expected


def test_restarts_tell_when_the_last_was():
    """The newest end of a container counts, init containers that are done left out."""
    ended = [{"terminated": {"finishedAt": f"2026-01-01T00:{minute}:00Z"}} for minute in ("40", "55", "59")]
    status = {
        "initContainerStatuses": [container("i", terminated={"exitCode": 0}, lastState=ended[2], restartCount=1)],
        "containerStatuses": [
            container(running={}, restartCount=2, lastState=ended[0]),
            container("d", running={}, restartCount=1, lastState=ended[1]),
        ],
    }
    pod = {"metadata": {}, "spec": INIT, "status": status}
    assert cells("pods", {**pod, "metadata": {}})["Restarts"] == "3 (5m ago)"
    assert summary_of(pod).total == 1


@pytest.mark.parametrize(
    ("resource", "obj", "expected"),
    [
        (
            "services",
            {"spec": {"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80, "nodePort": 30080}]}},
            {"Cluster-IP": "10.0.0.1", "External-IP": "<pending>", "Port(s)": "80:30080/TCP", "Selector": "<none>"},
        ),
        (
            "services",
            {
                "spec": {"type": "LoadBalancer", "externalIPs": ["192.0.2.9"]},
                "status": {"loadBalancer": {"ingress": [{"hostname": "b"}, {"ip": "192.0.2.1"}]}},
            },
            {"External-IP": "192.0.2.1,b,192.0.2.9", "Port(s)": "<none>"},
        ),
        (
            "services",
            {"spec": {"type": "ExternalName", "externalName": "db.example.com", "selector": {"b": "2", "a": "1"}}},
            {"Cluster-IP": "<none>", "External-IP": "db.example.com", "Selector": "a=1,b=2"},
        ),
        (
            "endpoints",
            {"subsets": [{"addresses": [{"ip": f"10.0.0.{n}"} for n in range(4)], "ports": [{"port": 80}]}]},
            {"Endpoints": "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 1 more..."},
        ),
        (
            "endpointslices.discovery.k8s.io",
            {"ports": [{"port": 80}, {"name": "x"}], "endpoints": []},
            {"Ports": "80,x", "Endpoints": "<unset>"},
        ),
        (
            "nodes",
            {
                "metadata": {"labels": {"node-role.kubernetes.io/b": "", "kubernetes.io/role": "a"}},
                "spec": {"unschedulable": True},
                "status": {"conditions": [{"type": "Ready", "status": "False"}]},
            },
            {"Status": "NotReady,SchedulingDisabled", "Roles": "a,b", "OS-Image": "<unknown>", "Internal-IP": "<none>"},
        ),
        (
            "events",
            {
                "eventTime": "2026-01-01T00:50:00.000000Z",
                "series": {"count": 7, "lastObservedTime": "2026-01-01T00:59:30.000000Z"},
                "involvedObject": {"kind": "Pod"},
                "reportingComponent": "kubelet",
                "reportingInstance": "n1",
                "message": " hello\n",
            },
            {
                "Last Seen": "30s",
                "First Seen": "10m",
                "Count": 7,
                "Object": "pod",
                "Source": "kubelet, n1",
                "Message": "hello",
            },
        ),
        (
            "jobs.batch",
            {
                "spec": {"parallelism": 3},
                "status": {
                    "succeeded": 1,
                    "startTime": "2026-01-01T00:00:00Z",
                    "completionTime": "2026-01-01T00:01:30Z",
                },
            },
            {"Completions": "1/1 of 3", "Duration": "90s", "Status": "Running"},
        ),
        (
            "jobs.batch",
            {
                "status": {"conditions": [{"type": "Suspended", "status": "True"}]},
                "metadata": {"deletionTimestamp": NOW},
            },
            {"Status": "Terminating", "Completions": "0/1", "Duration": ""},
        ),
        (
            "cronjobs.batch",
            {"spec": {"schedule": "* * * * *", "suspend": False}, "status": {"lastScheduleTime": CREATED}},
            {"Suspend": "False", "Timezone": "<none>", "Active": 0, "Last Schedule": "5m"},
        ),
        (
            "horizontalpodautoscalers.autoscaling",
            {
                "spec": {
                    "scaleTargetRef": {"kind": "Deployment", "name": "d"},
                    "maxReplicas": 3,
                    "metrics": [
                        {
                            "type": "Resource",
                            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                        }
                    ],
                }
            },
            {"Reference": "Deployment/d", "Targets": "cpu: <unknown>/50%", "MinPods": "<unset>", "MaxPods": 3},
        ),
        (
            "rolebindings.rbac.authorization.k8s.io",
            {
                "roleRef": {"kind": "Role", "name": "r"},
                "subjects": [
                    {"kind": "User", "name": "u"},
                    {"kind": "User", "name": "v"},
                    {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
                ],
            },
            {"Role": "Role/r", "Users": "u, v", "Groups": "", "ServiceAccounts": "n/s"},
        ),
        (
            "ingresses.networking.k8s.io",
            {"spec": {"rules": [{"host": "a"}, {}], "tls": [{}], "ingressClassName": "c"}},
            {"Class": "c", "Hosts": "a", "Ports": "80, 443", "Address": ""},
        ),
        (
            "resourcequotas",
            {"status": {"hard": {"limits.cpu": "2", "cpu": "1", "pods": "5"}, "used": {"pods": "3"}}},
            {"Request": "cpu: 0/1, pods: 3/5", "Limit": "limits.cpu: 0/2"},
        ),
        (
            "storageclasses.storage.k8s.io",
            {"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "p"},
            {"Name": "x (default)", "ReclaimPolicy": "Delete", "AllowVolumeExpansion": False},
        ),
        (
            "poddisruptionbudgets.policy",
            {"spec": {"minAvailable": 0}},
            {"Min Available": "0", "Max Unavailable": "N/A"},
        ),
        (
            "deployments.apps",
            {"spec": {"replicas": 2}, "status": {"readyReplicas": 1}},
            {"Ready": "1/2", "Selector": ""},
        ),
    ],
)
def test_cells(resource: str, obj: dict[str, Any], expected: dict[str, Any]):
    """What stands in the columns that take some thought."""
    found = cells(resource, obj)
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("string", "a", "a"),
        ("string", 3, "3"),
        ("string", True, "true"),
        ("string", {"b": 1, "a": [1, 2]}, '{"a":[1,2],"b":1}'),
        ("integer", 3, 3),
        ("integer", 3.7, 3),
        ("integer", "3", None),
        ("integer", True, None),
        ("number", 1.5, 1.5),
        ("boolean", True, True),
        ("boolean", "true", None),
        ("date", CREATED, "5m"),
        ("date", "yesterday", "<invalid>"),
        ("date", "", "<unknown>"),
        ("date", 5, None),
    ],
)
def test_cells_of_custom_kinds(kind: str, value: Any, shown: Any):
    """A value of another type than the column's shows nothing, but for text, which anything is."""
    _, column = printer_columns([{"name": "X", "jsonPath": ".spec.x", "type": kind}])
    assert column.cell({"metadata": {}, "spec": {"x": value}}, NOW) == shown


def test_custom_kinds_without_columns_show_their_age():
    """The age is a date there, and a text for built-in kinds."""
    assert [(c.name, c.type) for c in printer_columns([])] == [("Name", "string"), ("Age", "date")]
    assert next(c for c in columns_of("pods") if c.name == "Age").type == "string"


def test_ended_pods_are_marked():
    """kubectl can leave out what has ended."""
    served = Catalog().get("pods")
    pods = [{"metadata": {"name": phase}, "spec": {}, "status": {"phase": phase}} for phase in ("Running", "Failed")]
    rows = table_of(Form("Table"), served, pods, "v1", {}, "None", NOW)["rows"]
    assert ["conditions" in row for row in rows] == [False, True]
    assert rows[1]["conditions"] == [
        {"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."}
    ]
