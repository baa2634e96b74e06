# needs: nothing
# Server-side apply: managers own fields, and conflicts name them.
cat >cm.yaml <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: shared}
data: {size: "1", colour: red}
YAML
prints "configmap/shared serverside-applied" kubectl apply --server-side --field-manager=one -f cm.yaml
prints "configmap/shared serverside-applied" kubectl apply --server-side --field-manager=one -f cm.yaml
hides "managedFields" kubectl get configmap shared -o yaml
shows "manager: one" kubectl get configmap shared -o yaml --show-managed-fields
prints "" kubectl diff --server-side --field-manager=one -f cm.yaml
sed 's/size: "1", colour: red/size: "2"/' cm.yaml >other.yaml
refused 'Apply failed with 1 conflict: conflict with "one": .data.size' \
    kubectl apply --server-side --field-manager=two -f other.yaml
refused "Please review the fields above--they currently have other managers." \
    kubectl apply --server-side --field-manager=two -f other.yaml
prints "1" kubectl get configmap shared -o jsonpath='{.data.size}'
refused "Apply failed with 1 conflict" kubectl diff --server-side --field-manager=two -f other.yaml
prints "configmap/shared serverside-applied" \
    kubectl apply --server-side --field-manager=two --force-conflicts -f other.yaml
prints '2 red' kubectl get configmap shared -o jsonpath='{.data.size} {.data.colour}'
prints "configmap/shared serverside-applied" kubectl apply --server-side --field-manager=one -f - <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: shared}
data: {}
YAML
prints '{"size":"2"}' kubectl get configmap shared -o jsonpath='{.data}'
shows "serverside-applied (server dry run)" \
    kubectl apply --server-side --dry-run=server --field-manager=three -f - <<<"$(sed 's/size: "1", colour: red/x: z/' cm.yaml)"
prints '{"size":"2"}' kubectl get configmap shared -o jsonpath='{.data}'

# From client-side to server-side apply: the fields move to the new manager.
shows "configmap/moved created" kubectl apply -f - <<<"$(sed 's/shared/moved/' cm.yaml)"
shows "configmap/moved serverside-applied" kubectl apply --server-side -f - <<<"$(sed 's/shared/moved/; s/red/blue/' cm.yaml)"
prints "blue" kubectl get configmap moved -o jsonpath='{.data.colour}'
shows "operation: Apply" kubectl get configmap moved -o yaml --show-managed-fields
refused "is invalid: metadata.labels: Invalid value" kubectl apply --server-side -f - <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: bad, labels: {a: "b c"}}
YAML
refused '.spec.replica: field not declared in schema' kubectl apply --server-side -f - <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: bad}
spec:
  replica: 1
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}
YAML
