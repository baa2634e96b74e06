# needs: nodes
# Deployments with running pods: scale, rollout status, history, undo, restart, pause, resume, describe.
cat >web.yaml <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: busybox:1.36
        command: [sh, -c, "echo started; exec sleep 3600"]
        env: [{name: VERSION, value: one}]
        resources: {requests: {cpu: 10m}}
YAML
shows "created" kubectl apply -f web.yaml
shows 'deployment "web" successfully rolled out' kubectl rollout status deployment/web --timeout=120s
shows "condition met" kubectl wait deployment/web --for=condition=Available --timeout=10s
matches "web 2/2 2 2 [0-9]+s" kubectl get deployment web
matches "web 2/2 2 2 [0-9]+s main busybox:1.36 app=web" kubectl get deployment web -o wide
matches "web-[a-z0-9]+ 2 2 2 [0-9]+s main busybox:1.36 app=web,pod-template-hash=" kubectl get rs -l app=web -o wide
matches "web-[a-z0-9]+-[a-z0-9]+ 1/1 Running 0 [0-9]+s [0-9.]+ [a-z0-9-]+ <none> <none>" kubectl get pods -l app=web -o wide
shows "deployment.apps/web scaled" kubectl scale deployment/web --replicas=3
shows "condition met" kubectl wait deployment/web --for=jsonpath='{.status.readyReplicas}'=3 --timeout=60s
matches "3 desired \| 3 updated \| 3 total \| 3 available \| 0 unavailable" kubectl describe deployment web
shows "NewReplicaSet: web-" kubectl describe deployment web
shows "ScalingReplicaSet" kubectl describe deployment web
shows "Type Status Reason" kubectl describe deployment web
shows "Available True MinimumReplicasAvailable" kubectl describe deployment web
shows "Controlled By: Deployment/web" bash -c "kubectl describe rs -l app=web"

# A new version, its history, and back.
shows "change-cause" bash -c "kubectl annotate deployment/web kubernetes.io/change-cause='first version' -o yaml"
shows "env updated" kubectl set env deployment/web VERSION=two
shows "annotated" kubectl annotate deployment/web kubernetes.io/change-cause='second version' --overwrite
shows "successfully rolled out" kubectl rollout status deployment/web --timeout=120s
shows "REVISION CHANGE-CAUSE" kubectl rollout history deployment/web
shows "1 first version" kubectl rollout history deployment/web
shows "2 second version" kubectl rollout history deployment/web
shows "VERSION: two" kubectl rollout history deployment/web --revision=2
refused "unable to find the specified revision" kubectl rollout history deployment/web --revision=9
shows "VERSION: one" kubectl rollout undo deployment/web --dry-run=client
shows "deployment.apps/web rolled back" kubectl rollout undo deployment/web
shows "successfully rolled out" kubectl rollout status deployment/web --timeout=120s
prints "one" kubectl get deployment web -o jsonpath='{.spec.template.spec.containers[0].env[0].value}'
shows "3 first version" kubectl rollout history deployment/web
hides "1 first version" kubectl rollout history deployment/web
shows "rolled back" kubectl rollout undo deployment/web --to-revision=2
shows "successfully rolled out" kubectl rollout status deployment/web --timeout=120s

# Paused: changes wait. Restarted: new pods of the same version.
shows "deployment.apps/web paused" kubectl rollout pause deployment/web
refused "deployments.apps \"web\" is already paused" kubectl rollout pause deployment/web
shows "env updated" kubectl set env deployment/web VERSION=three
refused "can't restart paused deployment" kubectl rollout restart deployment/web
becomes "Progressing Unknown DeploymentPaused" kubectl describe deployment web
shows "deployment.apps/web resumed" kubectl rollout resume deployment/web
shows "successfully rolled out" kubectl rollout status deployment/web --timeout=120s
before=$(kubectl get pods -l app=web -o name | sort)
shows "deployment.apps/web restarted" kubectl rollout restart deployment/web
shows "successfully rolled out" kubectl rollout status deployment/web --timeout=120s
shows "restartedAt" kubectl get deployment web -o yaml
[[ $before != $(kubectl get pods -l app=web -o name | sort) ]]

# A version that never comes up: the old one stays.
shows "image updated" kubectl set image deployment/web main=none.invalid/none:1
refused "timed out waiting for the condition" kubectl rollout status deployment/web --timeout=2s
shows "rolled back" kubectl rollout undo deployment/web
shows "successfully rolled out" kubectl rollout status deployment/web --timeout=120s

# Deleting: orphans stay, foreground waits for dependents.
shows 'deployment.apps "web" deleted' kubectl delete deployment web --cascade=orphan
matches "web-[a-z0-9]+ 3 3 3" kubectl get rs -l app=web
shows "created" kubectl apply -f web.yaml
shows "successfully rolled out" kubectl rollout status deployment/web --timeout=120s
shows 'deployment.apps "web" deleted' kubectl delete deployment web --cascade=foreground --timeout=60s
prints "No resources found in $NAMESPACE namespace." kubectl get rs -l app=web
shows "created" kubectl apply -f web.yaml
shows "successfully rolled out" kubectl rollout status deployment/web --timeout=120s
shows "deleted" kubectl delete deployment,rs -l app=web
becomes "No resources found in $NAMESPACE namespace." kubectl get pods -l app=web
