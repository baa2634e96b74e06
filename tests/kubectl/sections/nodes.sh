# needs: nodes
# Nodes: read, label, taint, cordon, drain, uncordon. Only pods of this section are moved.
node=$(kubectl get nodes --no-headers | awk '$2 == "Ready" { print $1; exit }')
shows "NAME STATUS ROLES AGE VERSION" kubectl get nodes
matches "$node Ready [a-z<>,-]+ [0-9a-z]+ v1\.[0-9]+" kubectl get node "$node"
shows "INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION CONTAINER-RUNTIME" kubectl get nodes -o wide
matches "Ready True" kubectl describe node "$node"
matches "Allocatable: .*cpu:" bash -c "kubectl describe node $node | tr '\n' ' ' | tr -s ' '"
shows "Allocated resources:" kubectl describe node "$node"
shows "node/$node labeled" kubectl label node "$node" trimtab.dev/test="$NAMESPACE"
prints "node/$node" kubectl get nodes -l "trimtab.dev/test=$NAMESPACE" -o name
shows "node/$node tainted" kubectl taint node "$node" "trimtab.dev/test=$NAMESPACE:PreferNoSchedule"
matches "Taints: .*trimtab.dev/test=$NAMESPACE:PreferNoSchedule" bash -c "kubectl describe node $node | tr '\n' ' '"
shows "node/$node untainted" kubectl taint node "$node" trimtab.dev/test-
cat >pods.yaml <<YAML
apiVersion: v1
kind: Pod
metadata: {name: bare, labels: {app: drained}}
spec:
  nodeSelector: {trimtab.dev/test: $NAMESPACE}
  tolerations: [{operator: Exists, effect: NoSchedule}]
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: "busybox:1.36", command: [sleep, "3600"]}]
YAML
shows "created" kubectl apply -f pods.yaml
shows "condition met" kubectl wait pod/bare --for=condition=Ready --timeout=60s
matches "$NAMESPACE bare" kubectl describe node "$node"
shows "node/$node cordoned" kubectl cordon "$node"
shows "Ready,SchedulingDisabled" kubectl get node "$node"
shows "node/$node already cordoned" kubectl cordon "$node"
refused "cannot delete Pods that declare no controller (use --force to override)" \
    kubectl drain "$node" --pod-selector=app=drained --timeout=20s
shows "pod/bare evicted" kubectl drain "$node" --pod-selector=app=drained --force --timeout=60s
refused 'pods "bare" not found' kubectl get pod bare
shows "node/$node uncordoned" kubectl uncordon "$node"
hides "SchedulingDisabled" kubectl get node "$node"

# A budget holds a drain back.
shows "created" kubectl create poddisruptionbudget held --selector=app=drained --min-available=1
shows "created" kubectl apply -f pods.yaml
shows "condition met" kubectl wait pod/bare --for=condition=Ready --timeout=60s
becomes "held 1 N/A 0" kubectl get pdb held
refused "Cannot evict pod as it would violate the pod's disruption budget." \
    kubectl drain "$node" --pod-selector=app=drained --force --timeout=8s
shows "uncordoned" kubectl uncordon "$node"
shows "unlabeled" kubectl label node "$node" trimtab.dev/test-
shows "deleted" kubectl delete -f pods.yaml --grace-period=1
