# needs: nodes
# StatefulSets, DaemonSets and what runs by the clock.
cat >sets.yaml <<'YAML'
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: "busybox:1.36", command: [sleep, "3600"]}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: each}
spec:
  selector: {matchLabels: {app: each}}
  template:
    metadata: {labels: {app: each}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: "busybox:1.36", command: [sleep, "3600"]}]
YAML
shows "created" kubectl apply -f sets.yaml
shows "roll out complete: 2 new pods have been updated" kubectl rollout status statefulset/db --timeout=120s
prints "pod/db-0
pod/db-1" kubectl get pods -l app=db -o name
matches "db 2/2 [0-9]+s" kubectl get statefulset db
prints "db-1" kubectl get pod db-1 -o jsonpath='{.metadata.labels.statefulset\.kubernetes\.io/pod-name}'
shows "statefulset.apps/db scaled" kubectl scale statefulset db --replicas=1
shows "" kubectl wait pod/db-1 --for=delete --timeout=60s
shows "restarted" kubectl rollout restart statefulset/db
shows "roll out complete: 1 new pods have been updated" kubectl rollout status statefulset/db --timeout=120s
shows "REVISION" kubectl rollout history statefulset/db
matches "Replicas: 1 desired \| 1 total" kubectl describe statefulset db
matches "daemon set \"each\" successfully rolled out" kubectl rollout status daemonset/each --timeout=120s
matches "each [0-9]+ [0-9]+ [0-9]+ [0-9]+ [0-9]+ <none> [0-9]+s" kubectl get daemonset each
matches "Desired Number of Nodes Scheduled: [1-9]" kubectl describe daemonset each

# A schedule, started by hand as well.
shows "created" kubectl create cronjob tick --image=busybox:1.36 --schedule="0 0 1 1 *" -- sh -c 'echo ticked'
matches "tick 0 0 1 1 \* <none> False 0 <none> [0-9]+s" kubectl get cronjob tick
shows "job.batch/now created" kubectl create job now --from=cronjob/tick
shows "condition met" kubectl wait job/now --for=condition=Complete --timeout=60s
prints "ticked" kubectl logs job/now
prints "CronJob tick" kubectl get job now -o jsonpath='{.metadata.ownerReferences[0].kind} {.metadata.ownerReferences[0].name}'
shows "patched" kubectl patch cronjob tick -p '{"spec":{"suspend":true}}'
matches "Suspend: True" kubectl describe cronjob tick
refused 'spec.schedule: Invalid value: "often"' kubectl create cronjob bad --image=busybox:1.36 --schedule=often
shows "deleted" kubectl delete -f sets.yaml --timeout=60s
shows "deleted" kubectl delete cronjob tick
becomes "No resources found in $NAMESPACE namespace." kubectl get jobs
