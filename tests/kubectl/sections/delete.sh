# needs: nothing
# Deleting: by name, label, file; finalizers; dry runs; what is not there.
for name in a b c d e; do shows "created" kubectl create configmap "$name"; done
shows "labeled" kubectl label configmap b c x=y
matches 'configmap "a" deleted' kubectl delete configmap a
matches 'configmap "b" deleted.*configmap "c" deleted' bash -c 'kubectl delete configmap -l x=y | tr "\n" " "'
prints "configmap/d" kubectl delete configmap d -o name
matches 'configmap "e" deleted.*\(server dry run\)' kubectl delete configmap e --dry-run=server
prints "configmap/e" kubectl get configmap e -o name
refused 'Error from server (NotFound): configmaps "a" not found' kubectl delete configmap a
prints "" kubectl delete configmap a --ignore-not-found
refused "resource(s) were provided, but no name was specified" kubectl delete configmap
prints "No resources found" kubectl delete secret -l none=none

# A finalizer holds it until its owner is done.
shows "patched" kubectl patch configmap e --type=merge -p '{"metadata":{"finalizers":["example.com/wait"]}}'
shows 'configmap "e" deleted' kubectl delete configmap e --wait=false
matches "[0-9]+" kubectl get configmap e -o jsonpath='{.metadata.deletionTimestamp}'
refused "timed out waiting for the condition on configmaps/e" kubectl delete configmap e --timeout=1s
shows "patched" kubectl patch configmap e --type=json -p '[{"op":"remove","path":"/metadata/finalizers"}]'
refused 'configmaps "e" not found' kubectl get configmap e

shows "created" kubectl create configmap f
shows 'configmap "f" deleted' kubectl delete configmap --all
refused 'configmaps "f" not found' kubectl get configmap f
cat >pod.yaml <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {schedulerName: nobody, containers: [{name: c, image: i}]}
YAML
shows "created" kubectl create -f pod.yaml
shows 'pod "p" deleted' kubectl delete -f pod.yaml
shows "created" kubectl create -f pod.yaml
shows 'pod "p" force deleted' kubectl delete pod p --grace-period=0 --force
shows "created" kubectl create -f pod.yaml
shows 'pod "p" deleted' kubectl delete pod p --now
