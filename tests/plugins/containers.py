"""Pods to talk to, and the clients that do: kubectl and the official one."""

import asyncio
import json
import os
import sys


async def kubectl(embedded, *args, stdin=None, seconds=60, more=()):
    """Run kubectl on the cluster; returns code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        *args,
        env={**os.environ, "KUBECONFIG": str(embedded.cluster.kubeconfig_path), **dict(more)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin), seconds)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, out.decode(), err.decode()


async def started(embedded, command="sleep 600", **container):
    mounts = {"volumeMounts": [{"name": "w", "mountPath": "/files"}]}
    env = [{"name": "A", "value": "1"}, {"name": "WHERE", "value": "/files"}]
    embedded.run_pod(
        "p",
        command,
        container={**mounts, "env": env, **container},
        spec={"volumes": [{"name": "w", "emptyDir": {}}], "terminationGracePeriodSeconds": 1},
    )
    await embedded.pod("p", "Running")


async def official(embedded, script):
    """Run a script with the official client, in a process of its own: it leaves sockets open."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        OFFICIAL + script,
        str(embedded.cluster.kubeconfig_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return json.loads(out)


OFFICIAL = """
import json, sys
from kubernetes import client, config
from kubernetes.stream import portforward, stream
api = client.CoreV1Api(config.new_client_from_config(sys.argv[1]))
"""


ANSWERS = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (self.headers.get("X-Said", "") + self.path).encode() * 20_000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer((os.environ["IP"], 8080), Answer).serve_forever()
"""


async def a_web_server(embedded):
    ip = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    embedded.create(
        "services",
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        },
    )
    embedded.create(
        "pods",
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "main",
                        "image": "python:3",
                        "args": ["-c", ANSWERS],
                        "env": [ip],
                        "ports": [{"name": "http", "containerPort": 8080}],
                        "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
                    }
                ],
            },
        },
    )

    def ready():
        conditions = embedded.get("pods", "web")["status"].get("conditions") or ()
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    await embedded.until(ready)
