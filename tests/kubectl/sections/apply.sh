# needs: nothing
# Declarative management: create, change, unchanged, diff, dry run, prune, server-side apply, replace, kustomize.
cat >web.yaml <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 0
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: main
        image: web:1
        env:
        - {name: LEVEL, value: info}
        ports:
        - {name: http, containerPort: 8080}
---
apiVersion: v1
kind: Service
metadata:
  name: web
  labels: {app: web}
spec:
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: http}
YAML
prints "deployment.apps/web created
service/web created" kubectl apply -f web.yaml
prints "deployment.apps/web unchanged
service/web unchanged" kubectl apply -f web.yaml
prints "" kubectl diff -f web.yaml
sed -i 's/web:1/web:2/' web.yaml
refused "+        image: web:2" kubectl diff -f web.yaml
prints "deployment.apps/web configured
service/web unchanged" kubectl apply -f web.yaml
prints "web:2" kubectl get deployment web -o jsonpath='{.spec.template.spec.containers[0].image}'
shows '"image": "web:2"' kubectl apply view-last-applied deployment/web -o json
shows "image: web:2" kubectl apply view-last-applied deployment/web
shows "last-applied-configuration" kubectl get deployment web -o yaml

# What the file no longer says goes; what somebody else set stays.
shows "labeled" kubectl label deployment web team=a
sed -i '/env:/d; /LEVEL/d' web.yaml
shows "deployment.apps/web configured" kubectl apply -f web.yaml
prints "" kubectl get deployment web -o jsonpath='{.spec.template.spec.containers[0].env}'
prints "a" kubectl get deployment web -o jsonpath='{.metadata.labels.team}'

# Typing errors are refused before and after the door; a dry run changes nothing.
refused 'unknown field "spec.replica"' kubectl apply -f - <<<"$(sed 's/replicas/replica/' web.yaml)"
shows "deployment.apps/web configured (server dry run)" kubectl apply --dry-run=server -f - <<<"$(sed 's/web:2/web:3/' web.yaml)"
shows "deployment.apps/web configured (dry run)" kubectl apply --dry-run=client -f - <<<"$(sed 's/web:2/web:3/' web.yaml)"
shows "image: web:3" kubectl apply --dry-run=server -o yaml -f - <<<"$(sed 's/web:2/web:3/' web.yaml)"
prints "web:2" kubectl get deployment web -o jsonpath='{.spec.template.spec.containers[0].image}'
refused 'The Deployment "web" is invalid: spec.selector: Invalid value:' \
    kubectl apply -f - <<<"$(sed 's/app: web/app: other/' web.yaml)"
refused "field is immutable" kubectl apply -f - <<<"$(sed 's/app: web/app: other/' web.yaml)"
refused 'cannot unmarshal object into Go struct field ConfigMap.data of type string' kubectl apply -f - <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {a: {b: c}}
YAML
refused 'no matches for kind "Nonsense" in version "v1"' kubectl apply -f - <<'YAML'
apiVersion: v1
kind: Nonsense
metadata: {name: c}
YAML
refused 'ConfigMap "Upper" is invalid: metadata.name: Invalid value: "Upper": a lowercase RFC 1123 subdomain must' \
    kubectl create configmap Upper

# Pruning takes away what the set no longer has.
cat >set.yaml <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: one, labels: {set: s}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two, labels: {set: s}}
YAML
shows "configmap/two created" kubectl apply --prune -l set=s --prune-allowlist=core/v1/ConfigMap -f set.yaml
shows "configmap/two pruned" kubectl apply --prune -l set=s --prune-allowlist=core/v1/ConfigMap -f - <<<"$(sed '/---/,$d' set.yaml)"
prints "configmap/one" kubectl get configmap -l set=s -o name

# Replace: the whole object, or a new one.
shows "configmap/one replaced" kubectl replace -f - <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: one}
data: {k: v}
YAML
prints "v" kubectl get configmap one -o jsonpath='{.data.k}'
prints "" kubectl get configmap one -o jsonpath='{.metadata.labels}'
before=$(kubectl get service web -o jsonpath='{.metadata.uid}')
shows "service/web replaced" kubectl replace --force -f - <<<"$(sed '1,/---/d' web.yaml)"
hides "$before" kubectl get service web -o jsonpath='{.metadata.uid}'
refused 'Error from server (NotFound): error when replacing "STDIN": configmaps "none" not found' kubectl replace -f - <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: none}
YAML
refused 'Error from server (AlreadyExists): error when creating "STDIN": configmaps "one" already exists' kubectl create -f - <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: one}
YAML
shows "configmap/made-" kubectl create -f - <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {generateName: made-}
YAML

# Kustomize, piped and as a folder.
mkdir -p base
cp web.yaml base/
cat >base/kustomization.yaml <<'YAML'
resources: [web.yaml]
namePrefix: k-
images: [{name: web, newTag: "7"}]
configMapGenerator:
- name: settings
  literals: [level=debug]
YAML
shows "deployment.apps/k-web created" bash -c 'kubectl kustomize base | kubectl apply -f -'
prints "web:7" kubectl get deployment k-web -o jsonpath='{.spec.template.spec.containers[0].image}'
shows "deployment.apps/k-web unchanged" kubectl apply -k base
shows 'deployment.apps "k-web" deleted' kubectl delete -k base
refused 'Error from server (NotFound): deployments.apps "k-web" not found' kubectl get deployment k-web

shows 'service "web" deleted' kubectl delete -f web.yaml
