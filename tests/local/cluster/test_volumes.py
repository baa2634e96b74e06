"""What pods are given: environment, config maps, secrets and volumes."""

import base64
import os

import pytest

pytestmark = pytest.mark.integration


def terminated(pod, container=0):
    return pod["status"]["containerStatuses"][container]["state"]["terminated"]


async def test_environment_and_volumes(embedded):
    """A container sees what its spec names, at paths that are rewritten, and nothing of the user's environment."""
    os.environ["A_SECRET_OF_THE_USER"] = "1"
    embedded.create(
        "configmaps",
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}, "data": {"a.txt": "hello", "KEY": "v"}},
    )
    secret = {"token": base64.b64encode(b"s3cret").decode()}
    embedded.create("secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sec"}, "data": secret})
    container = {
        "env": [
            {"name": "FIRST", "value": "1"},
            {"name": "BOTH", "value": "$(FIRST)-$(NOT_THERE)-$$(FIRST)"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "token"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "WHERE", "value": "file:///srv/x"},
        ],
        "envFrom": [{"configMapRef": {"name": "cm"}}],
        "resources": {"limits": {"cpu": "1500m"}},
        "volumeMounts": [{"name": "cm", "mountPath": "/etc/cm"}, {"name": "work", "mountPath": "/srv"}],
    }
    volumes = [{"name": "cm", "configMap": {"name": "cm"}}, {"name": "work", "emptyDir": {}}]
    script = "cat /etc/cm/a.txt; echo x > /srv/x; cat ${WHERE#file://}; env | sort"
    embedded.run_pod("p", script, container=container, spec={"volumes": volumes})
    pod = await embedded.pod("p", "Succeeded")
    lines = (await embedded.log("p")).splitlines()
    assert lines[0] == "hellox"
    seen = dict(line.split("=", 1) for line in lines[1:] if "=" in line)
    wanted = {
        "BOTH": "1-$(NOT_THERE)-$(FIRST)",
        "TOKEN": "s3cret",
        "IP": pod["status"]["podIP"],
        "CPU": "2",
        "KEY": "v",
    }
    assert wanted.items() <= seen.items()
    assert "A_SECRET_OF_THE_USER" not in seen
    assert seen["HOSTNAME"] == "p"


def events(embedded, reason):
    """Type, part and message of the events with that reason, in order."""
    found = [e for e in embedded.list("events") if e["reason"] == reason]
    return [(e["type"], e["involvedObject"].get("fieldPath", ""), e["message"]) for e in found]


async def test_a_volume_of_another_kind_is_refused(embedded):
    """The pod waits with a message that names the volume."""
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "x"}}
    embedded.run_pod("p", "true", spec={"volumes": [volume]})

    def message():
        statuses = embedded.get("pods", "p")["status"].get("containerStatuses") or [{"state": {}}]
        return (statuses[0]["state"].get("waiting") or {}).get("message")

    assert "persistentVolumeClaim is not supported on the embedded cluster" in await embedded.until(message)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            {"hostPath": {"path": "/proc/no", "type": "DirectoryOrCreate"}},
            "hostPath /proc/no cannot be made on this machine",
        ),
        (
            {"hostPath": {"path": "/no/such", "type": "Directory"}},
            "hostPath type check failed: /no/such is not a directory",
        ),
        ({"hostPath": {"path": "/proc", "type": "Socket"}}, "hostPath type check failed: /proc is not a socket file"),
        ({"secret": {"secretName": "gone"}}, 'secret "gone" not found'),
        (
            {"configMap": {"name": "cm", "items": [{"key": "no", "path": "p"}]}},
            "references non-existent config key: no",
        ),
    ],
)
async def test_volumes_that_cannot_be_had_say_why(embedded, source, words):
    """The pod waits to be created, and an event says what for."""
    embedded.create(
        "configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}, "data": {"k": "v"}}
    )
    embedded.run_pod("p", "true", spec={"volumes": [{"name": "v", **source}]})
    found = await embedded.until(lambda: events(embedded, "FailedMount"))
    assert found[0][0] == "Warning"
    assert found[0][2].startswith(f'MountVolume.SetUp failed for volume "v" : {words}')
    state = embedded.get("pods", "p")["status"]["containerStatuses"][0]["state"]
    assert state == {"waiting": {"reason": "ContainerCreating"}}
    embedded.registry.delete("pods", "p", "default")
    await embedded.until(lambda: embedded.get("pods", "p") is None)


async def test_a_volume_is_had_once_its_source_exists(embedded):
    """Nobody needs to touch the pod."""
    volume = {"name": "v", "configMap": {"name": "late"}}
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/etc/v"}]}
    embedded.run_pod("p", "cat /etc/v/k", container=mount, spec={"volumes": [volume]})
    await embedded.until(lambda: events(embedded, "FailedMount"))
    embedded.create(
        "configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}, "data": {"k": "v"}}
    )
    await embedded.pod("p", "Succeeded")
    assert await embedded.log("p") == "v"


async def test_volumes_follow_their_sources(embedded):
    """A changed ConfigMap, and the pod's own labels, reach the files of a container that runs."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}, "data": {"k": "old", "gone": "x"}}
    embedded.create("configmaps", config)
    sources = [
        {"configMap": {"name": "cm"}},
        {"downwardAPI": {"items": [{"path": "deep/labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    volume = {"name": "v", "projected": {"defaultMode": 0o440, "sources": sources}}
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/etc/v"}]}
    script = "until grep -q new /etc/v/k && grep -q 'a=\"1\"' /etc/v/deep/labels; do sleep 0.05; done; ls /etc/v"
    embedded.run_pod("p", script, container=mount, spec={"volumes": [volume]})
    await embedded.pod("p", "Running")
    embedded.registry.update("configmaps", {**embedded.get("configmaps", "cm"), "data": {"k": "new"}})
    pod = embedded.get("pods", "p")
    embedded.registry.update("pods", {**pod, "metadata": {**pod["metadata"], "labels": {"a": "1"}}})
    await embedded.pod("p", "Succeeded")
    assert await embedded.log("p") == "deep\nk\n"


async def test_a_missing_config_map_is_waited_for(embedded):
    """A pod whose configuration comes later starts by itself then."""
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "k"}}}]
    embedded.run_pod("p", "echo $A", container={"env": env})
    await embedded.until(lambda: "containerStatuses" in embedded.get("pods", "p")["status"])
    embedded.create(
        "configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}, "data": {"k": "v"}}
    )
    await embedded.pod("p", "Succeeded")
    assert await embedded.log("p") == "v\n"
