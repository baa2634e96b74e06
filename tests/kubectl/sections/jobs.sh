# needs: nodes
# Jobs: from flags and files, waited for, read, described, suspended; scheduled ones started by hand.
shows "job.batch/once created" kubectl create job once --image=busybox:1.36 -- sh -c 'echo worked'
shows "job.batch/once condition met" kubectl wait job/once --for=condition=Complete --timeout=60s
prints "worked" kubectl logs job/once
matches "once Complete 1/1 [0-9]+s [0-9]+s" kubectl get job once
matches "once Complete 1/1 [0-9]+s [0-9]+s once busybox:1.36 batch.kubernetes.io/controller-uid=" kubectl get job once -o wide
matches "Pods Statuses: 0 Active \(0 Ready\) / 1 Succeeded / 0 Failed" kubectl describe job once
matches "SuccessfulCreate" kubectl describe job once
matches "Completed .* Job completed" kubectl describe job once
matches "once-[a-z0-9]+ 0/1 Completed 0" kubectl get pods -l job-name=once
shows "created" kubectl apply -f - <<'YAML'
apiVersion: batch/v1
kind: Job
metadata: {name: bad}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: "busybox:1.36", command: [sh, -c, "echo no; exit 1"]}]
YAML
shows "condition met" kubectl wait job/bad --for=condition=Failed --timeout=60s
prints "BackoffLimitExceeded" kubectl get job bad -o jsonpath='{.status.conditions[?(@.type=="Failed")].reason}'
matches "bad Failed 0/1" kubectl get job bad
matches "BackoffLimitExceeded .* Job has reached the specified backoff limit" kubectl describe job bad
shows "created" kubectl apply -f - <<'YAML'
apiVersion: batch/v1
kind: Job
metadata: {name: held}
spec:
  suspend: true
  completions: 2
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: "busybox:1.36", command: [sh, -c, 'echo "part $JOB_COMPLETION_INDEX"']}]
YAML
becomes "held Suspended 0/2" kubectl get job held
prints "No resources found in $NAMESPACE namespace." kubectl get pods -l job-name=held
shows "patched" kubectl patch job held -p '{"spec":{"suspend":false}}'
shows "condition met" kubectl wait job/held --for=condition=Complete --timeout=60s
prints "0,1" kubectl get job held -o jsonpath='{.status.completedIndexes}'
prints "part 1" kubectl logs -l job-name=held,batch.kubernetes.io/job-completion-index=1
refused "field is immutable" kubectl patch job held --type=merge -p '{"spec":{"template":{"spec":{"restartPolicy":"OnFailure"}}}}'
shows 'job.batch "once" deleted' kubectl delete job once
becomes "No resources found in $NAMESPACE namespace." kubectl get pods -l job-name=once
