# needs: nothing
# Changing: patches of every type, edit, set, scale, label, annotate.
shows "created" kubectl create deployment d --image=web:1 --replicas=0
prints "deployment.apps/d patched" kubectl patch deployment d -p '{"spec":{"template":{"spec":{"containers":[{"name":"web","imagePullPolicy":"Never"}]}}}}'
prints "web:1 Never" kubectl get deployment d -o jsonpath='{.spec.template.spec.containers[0].image} {.spec.template.spec.containers[0].imagePullPolicy}'
prints "deployment.apps/d patched (no change)" kubectl patch deployment d -p '{"spec":{"replicas":0}}'
prints "deployment.apps/d patched" kubectl patch deployment d --type=merge -p '{"spec":{"minReadySeconds":3}}'
prints "deployment.apps/d patched" kubectl patch deployment d --type=json \
    -p '[{"op":"test","path":"/spec/minReadySeconds","value":3},{"op":"replace","path":"/spec/minReadySeconds","value":4}]'
prints "4" kubectl get deployment d -o jsonpath='{.spec.minReadySeconds}'
refused 'The request is invalid' kubectl patch deployment d --type=json -p '[{"op":"remove","path":"/spec/nothing"}]'
refused 'Error from server (NotFound): deployments.apps "none" not found' kubectl patch deployment none -p '{}'
refused 'The Deployment "d" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0' \
    kubectl patch deployment d -p '{"spec":{"replicas":-1}}'
shows "scale.autoscaling/d patched" kubectl patch deployment d --subresource=scale --type=merge -p '{"spec":{"replicas":0}}'
prints "deployment.apps/d image updated" kubectl set image deployment/d web=web:2
prints "deployment.apps/d env updated" kubectl set env deployment/d LEVEL=debug
shows "LEVEL=debug" kubectl set env deployment/d --list
prints "deployment.apps/d env updated" kubectl set env deployment/d LEVEL-
prints "deployment.apps/d resource requirements updated" kubectl set resources deployment d --limits=cpu=200m,memory=64Mi --requests=cpu=100m
prints '{"limits":{"cpu":"200m","memory":"64Mi"},"requests":{"cpu":"100m"}}' \
    kubectl get deployment d -o jsonpath='{.spec.template.spec.containers[0].resources}'
prints "deployment.apps/d serviceaccount updated" kubectl set serviceaccount deployment d robot
refused 'unable to find container named "none"' kubectl set image deployment/d none=web:2
EDITOR="sed -i s/web:2/web:3/" prints "deployment.apps/d edited" kubectl edit deployment d
prints "web:3" kubectl get deployment d -o jsonpath='{.spec.template.spec.containers[0].image}'
EDITOR="true" shows "Edit cancelled, no changes made." kubectl edit deployment d
EDITOR="sed -i s/progressDeadlineSeconds:.*/progressDeadlineSeconds:\ 5/" prints "deployment.apps/d edited" kubectl edit deployment d
prints "deployment.apps/d scaled" kubectl scale deployment d --replicas=0 --current-replicas=0
refused "Expected replicas to be 7, was 0" kubectl scale deployment d --replicas=1 --current-replicas=7

prints "deployment.apps/d labeled" kubectl label deployment d tier=front
refused "'tier' already has a value (front), and --overwrite is false" kubectl label deployment d tier=back
prints "deployment.apps/d labeled" kubectl label deployment d tier=back --overwrite
prints "deployment.apps/d unlabeled" kubectl label deployment d tier-
prints "deployment.apps/d annotated" kubectl annotate deployment d note="a b"
prints "a b" kubectl get deployment d -o jsonpath='{.metadata.annotations.note}'
prints "deployment.apps/d annotated" kubectl annotate deployment d note-
refused "is invalid: metadata.labels: Invalid value: \"a b\": a valid label must be an empty string or consist of" \
    bash -c "kubectl patch deployment d -p '{\"metadata\":{\"labels\":{\"x\":\"a b\"}}}'"
shows "labeled" kubectl label deployment --all all=yes

# Optimistic locking: what was read before somebody else wrote is refused.
kubectl get deployment d -o yaml >read.yaml
shows "annotated" kubectl annotate deployment d by=somebody-else
refused "the object has been modified; please apply your changes to the latest version and try again" kubectl replace -f read.yaml
refused 'Error from server (Conflict): Operation cannot be fulfilled on deployments.apps "d"' \
    kubectl patch deployment d -p '{"metadata":{"resourceVersion":"1","labels":{"x":"y"}}}'
