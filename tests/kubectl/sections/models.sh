# needs: nothing
# Our own kinds, as a model team sees them before any operator runs.
shows "customresourcedefinition" kubectl apply --server-side --force-conflicts -k "$ROOT/crds"
shows "condition met" kubectl wait --for=condition=Established crd/optimizedmodels.trimtab.dev --timeout=20s
becomes "optimizedmodels" kubectl api-resources --api-group=trimtab.dev -o name
cat >model.yaml <<'YAML'
apiVersion: trimtab.dev/v1alpha1
kind: OptimizedModel
metadata: {name: digits}
spec:
  source: {uri: "s3://models/digits/v3"}
  compression: {preset: Balanced}
  guardrail: {dataset: {uri: "s3://data/digits/test.npz"}, maxDrop: 1pp}
  serving: {maxReplicas: 4}
YAML
becomes "optimizedmodel.trimtab.dev/digits" kubectl apply -f model.yaml
prints "optimizedmodel.trimtab.dev/digits unchanged" kubectl apply -f model.yaml
prints "" kubectl diff -f model.yaml
shows "NAME READY STATUS COMPRESSION SIZE DROP REPLICAS SPOT URL AGE" kubectl get om
shows "digits" kubectl get om -o wide
shows "Preset: Balanced" kubectl describe om digits
becomes "KIND: OptimizedModel" kubectl explain om
shows "maxDrop" kubectl explain optimizedmodel.spec.guardrail
shows "preset" kubectl explain om --recursive
prints "-1" kubectl get om digits -o jsonpath='{.status.observedGeneration}'
prints "optimizedmodel.trimtab.dev/digits patched" kubectl patch om digits --type=merge -p '{"spec":{"suspend":true}}'
prints "2" kubectl get om digits -o jsonpath='{.metadata.generation}'
refused 'spec.compression.preset: Unsupported value: "Tiny"' kubectl patch om digits --type=merge -p '{"spec":{"compression":{"preset":"Tiny"}}}'
refused 'unknown field "spec.sorce"' kubectl apply -f - <<<"$(sed 's/source:/sorce:/' model.yaml)"
refused "timed out waiting for the condition on optimizedmodels/digits" kubectl wait om/digits --for=condition=Ready --timeout=1s
prints "optimizedmodel.trimtab.dev/digits serverside-applied" kubectl apply --server-side --force-conflicts -f model.yaml
shows 'optimizedmodel.trimtab.dev "digits" deleted' kubectl delete -f model.yaml
prints "No resources found in $NAMESPACE namespace." kubectl get om
