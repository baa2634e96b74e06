# needs: nothing
# Imperative creation of everything that `kubectl create` knows and that is served, and what it refuses.
prints "deployment.apps/d created" kubectl create deployment d --image=web:1 --replicas=0 --port=8080
prints "web:1 0 8080" kubectl get deployment d \
    -o jsonpath='{.spec.template.spec.containers[0].image} {.spec.replicas} {.spec.template.spec.containers[0].ports[0].containerPort}'
prints "service/d exposed" kubectl expose deployment d --port=80 --target-port=8080
prints '80 8080 {"app":"d"}' kubectl get service d -o jsonpath='{.spec.ports[0].port} {.spec.ports[0].targetPort} {.spec.selector}'
prints "job.batch/j created" kubectl create job j --image=busybox:1.36 -- sh -c 'exit 0'
prints '["sh","-c","exit 0"]' kubectl get job j -o jsonpath='{.spec.template.spec.containers[0].command}'
echo content >file.txt
prints "configmap/c created" kubectl create configmap c --from-literal=a=1 --from-file=file.txt --from-file=renamed=file.txt
prints "1 content content" bash -c "kubectl get configmap c -o jsonpath='{.data.a} {.data.file\.txt} {.data.renamed}' | tr -s '\n' ' ' | sed 's/ *$//; s/  */ /g'"
printf 'A=1\nB=2\n' >vars
prints "configmap/e created" kubectl create configmap e --from-env-file=vars
prints '{"A":"1","B":"2"}' kubectl get configmap e -o jsonpath='{.data}'
printf '\xff\xfe' >binary
prints "configmap/b created" kubectl create configmap b --from-file=binary
prints "//4=" kubectl get configmap b -o jsonpath='{.binaryData.binary}'
prints "secret/s created" kubectl create secret generic s --from-literal=password=very-secret
prints "very-secret" kubectl get secret s -o go-template='{{.data.password | base64decode}}'
prints "Opaque" kubectl get secret s -o jsonpath='{.type}'
matches "s Opaque 1 [0-9]+s" kubectl get secret s
prints "secret/r created" kubectl create secret docker-registry r --docker-username=u --docker-password=p --docker-server=registry.example
prints "kubernetes.io/dockerconfigjson" kubectl get secret r -o jsonpath='{.type}'
prints "serviceaccount/robot created" kubectl create serviceaccount robot
prints "role.rbac.authorization.k8s.io/reader created" kubectl create role reader --verb=get,list --resource=pods,configmaps
prints '[{"apiGroups":[""],"resources":["pods","configmaps"],"verbs":["get","list"]}]' kubectl get role reader -o jsonpath='{.rules}'
prints "rolebinding.rbac.authorization.k8s.io/readers created" \
    kubectl create rolebinding readers --role=reader --serviceaccount="$NAMESPACE:robot"
matches "readers Role/reader [0-9]+s" kubectl get rolebinding readers
prints "service/n created" kubectl create service clusterip n --clusterip=None --tcp=80
prints "None" kubectl get service n -o jsonpath='{.spec.clusterIP}'
prints "namespace/$NAMESPACE-2 created" kubectl create namespace "$NAMESPACE-2"
prints "Active" kubectl get namespace "$NAMESPACE-2" -o jsonpath='{.status.phase}'
shows "deleted" kubectl delete namespace "$NAMESPACE-2" --wait=false
matches "poddisruptionbudget.policy/p created" kubectl create poddisruptionbudget p --selector=app=d --min-available=1
matches "p 1 N/A 0 [0-9]+s" kubectl get pdb p
prints "pod/r created" kubectl run r --image=web:1 --labels=a=b --env=K=V --overrides='{"spec":{"schedulerName":"nobody"}}'
prints 'b V Always' kubectl get pod r -o jsonpath='{.metadata.labels.a} {.spec.containers[0].env[0].value} {.spec.restartPolicy}'
prints "service/r exposed" kubectl expose pod r --port=80 --name=r
matches "r 0/1 Pending 0 [0-9]+s" kubectl get pod r

# Without doing it.
shows "image: web:1" kubectl create deployment dry --image=web:1 --dry-run=client -o yaml
prints "deployment.apps/dry created (server dry run)" kubectl create deployment dry --image=web:1 --dry-run=server
prints "pod/dry created (dry run)" kubectl run dry --image=web:1 --dry-run=client
refused 'deployments.apps "dry" not found' kubectl get deployment dry

# Refusals.
refused 'error: failed to create deployment: deployments.apps "d" already exists' kubectl create deployment d --image=web:1
refused 'error: failed to create configmap: configmaps "c" already exists' kubectl create configmap c
refused 'namespaces "none" not found' kubectl create configmap c -n none
refused 'Error from server (AlreadyExists): namespaces "default" already exists' kubectl create namespace default
refused 'The Service "bad" is invalid: spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive' \
    kubectl create -f - <<'YAML'
apiVersion: v1
kind: Service
metadata: {name: bad}
spec: {ports: [{port: 70000, targetPort: 80}]}
YAML

# What belongs to no namespace, and goes at the end.
mine="trimtab-test-$RANDOM$RANDOM"
prints "clusterrole.rbac.authorization.k8s.io/$mine created" kubectl create clusterrole "$mine" --verb=get --non-resource-url=/metrics
prints "clusterrolebinding.rbac.authorization.k8s.io/$mine created" kubectl create clusterrolebinding "$mine" --clusterrole="$mine" --user=jane
matches "$mine ClusterRole/$mine [0-9]+s" kubectl get clusterrolebinding "$mine"
prints "priorityclass.scheduling.k8s.io/$mine created" kubectl create priorityclass "$mine" --value=7 --description="a test's"
matches "$mine 7 false [0-9]+s" kubectl get priorityclass "$mine"
prints "service/np created" kubectl create service nodeport np --tcp=80
matches "np NodePort [0-9.]+ <none> 80:3[0-9]+/TCP" kubectl get service np
prints "service/en created" kubectl create service externalname en --external-name=a.example.com
matches "en ExternalName <none> a.example.com <none>" kubectl get service en
for kind in clusterrolebinding clusterrole priorityclass; do shows "deleted" kubectl delete "$kind" "$mine"; done
