# needs: nodes
# Pods: run, logs, exec, copy, forward, wait, describe, events, delete.
shows "pod/talker created" kubectl run talker --image=busybox:1.36 --restart=Never --labels=role=talker --command -- \
    sh -c 'i=0; while true; do echo line $i; i=$((i+1)); sleep 1; done'
shows "pod/talker condition met" kubectl wait pod/talker --for=condition=Ready --timeout=60s
shows "condition met" kubectl wait pod/talker --for=jsonpath='{.status.phase}'=Running --timeout=10s
matches "talker 1/1 Running 0 [0-9]+s" kubectl get pod talker
becomes "line 2" kubectl logs talker
matches "^line [0-9]+$" kubectl logs talker --tail=1
shows "line 0" kubectl logs pod/talker -c talker
matches "20[0-9-]+T[0-9:.]+Z line 0" kubectl logs talker --timestamps
shows "line" kubectl logs -l role=talker --tail=1
shows "[pod/talker/talker] line" kubectl logs talker --prefix --tail=1
prints "line 0" bash -c 'kubectl logs talker --limit-bytes=6'
shows "line" kubectl logs talker --since=1m
timeout 20 kubectl logs -f talker --tail=1 >followed || true &
follower=$!
becomes "3" bash -c 'wc -l <followed | tr -d " "'
kill "$follower" 2>/dev/null || true
refused 'pods "none" not found' kubectl logs none
refused 'container none is not valid for pod talker' kubectl logs talker -c none
refused "previous terminated container \"talker\" in pod \"talker\" not found" kubectl logs talker --previous

shows "Node:" kubectl describe pod talker
matches "Status: Running" kubectl describe pod talker
matches "Image: busybox:1.36" kubectl describe pod talker
matches "Ready: True" kubectl describe pod talker
matches "QoS Class: BestEffort" kubectl describe pod talker
matches "Scheduled .* Successfully assigned $NAMESPACE/talker to" kubectl describe pod talker
matches "Started .* kubelet" kubectl describe pod talker
matches "Normal Scheduled pod/talker Successfully assigned" kubectl get events
matches "Normal Scheduled Pod/talker Successfully assigned" kubectl events --for pod/talker
shows "pod/talker" kubectl get events --field-selector involvedObject.name=talker,reason=Started
shows "LAST SEEN TYPE REASON OBJECT MESSAGE" kubectl get events --sort-by=.metadata.creationTimestamp

# Into the container.
prints "hello" kubectl exec talker -- echo hello
prints "from stdin" kubectl exec -i talker -- cat <<<"from stdin"
prints "talker" kubectl exec pod/talker -c talker -- sh -c 'echo $HOSTNAME'
refused "command terminated with exit code 3" kubectl exec talker -- sh -c 'exit 3'
shows "to stderr" kubectl exec talker -- sh -c 'echo to stderr >&2'
refused 'pods "none" not found' kubectl exec none -- true

# One that ends, one that fails, one that cannot start.
shows "created" kubectl run once --image=busybox:1.36 --restart=Never --command -- sh -c 'echo done; exit 0'
shows "condition met" kubectl wait pod/once --for=jsonpath='{.status.phase}'=Succeeded --timeout=60s
matches "once 0/1 Completed 0 [0-9]+s" kubectl get pod once
prints "done" kubectl logs once
shows "created" kubectl run fails --image=busybox:1.36 --restart=Never --command -- sh -c 'echo why; exit 4'
shows "condition met" kubectl wait pod/fails --for=jsonpath='{.status.phase}'=Failed --timeout=60s
matches "fails 0/1 Error 0 [0-9]+s" kubectl get pod fails
matches "Reason: Error Exit Code: 4" bash -c 'kubectl describe pod fails | tr "\n" " " | tr -s " "'
shows "pod/fails" kubectl get pods --field-selector status.phase=Failed -o name
hides "pod/talker" kubectl get pods --field-selector status.phase!=Running -o name
shows "created" kubectl run crashes --image=busybox:1.36 --command -- sh -c 'echo crashed; exit 1'
becomes "CrashLoopBackOff" kubectl get pod crashes
prints "crashed" kubectl logs crashes --previous
becomes "BackOff" kubectl get events --field-selector involvedObject.name=crashes
shows "created" kubectl run missing --image=none.invalid/none:1
becomes "ImagePull" kubectl get pod missing
shows "is waiting to start" bash -c "kubectl logs missing 2>&1 || true"
shows "created" kubectl apply -f - <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: two}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: first, image: "busybox:1.36", command: [sh, -c, "echo initialised > /shared/file"], volumeMounts: [{name: v, mountPath: /shared}]}
  containers:
  - {name: a, image: "busybox:1.36", command: [sh, -c, "cat /shared/file; exec sleep 3600"], volumeMounts: [{name: v, mountPath: /shared}]}
  - {name: b, image: "busybox:1.36", command: [sh, -c, "echo I am b; exec sleep 3600"]}
  volumes: [{name: v, emptyDir: {}}]
YAML
shows "condition met" kubectl wait pod/two --for=condition=Ready --timeout=60s
matches "two 2/2 Running 0 [0-9]+s" kubectl get pod two
prints "initialised" kubectl logs two -c a
shows "I am b" kubectl logs two --all-containers
shows "Defaulted container \"a\" out of: a, b, first (init)" kubectl logs two
prints "I am b" kubectl logs two -c b --tail=1

# Labels move pods between selections; deletion is graceful unless it is forced.
shows "labeled" kubectl label pod talker role=quiet --overwrite
prints "No resources found in $NAMESPACE namespace." kubectl get pods -l role=talker
shows 'pod "two" deleted' kubectl delete pod two --grace-period=1 --timeout=30s
shows 'pod "talker" force deleted' kubectl delete pod talker --grace-period=0 --force
refused 'pods "talker" not found' kubectl get pod talker
shows "deleted" kubectl delete pods --all --now --timeout=60s
