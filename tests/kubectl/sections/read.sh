# needs: nothing
# Reading: output formats, selectors, sorting, paging, watching.
for number in 3 1 2; do
    shows "created" kubectl create configmap "c$number" --from-literal=rank="$number"
    shows "labeled" kubectl label configmap "c$number" rank="$number" kind=test
done
shows "NAME DATA AGE" kubectl get configmaps
matches "c1 1 [0-9]+s" kubectl get cm c1
matches "c1 1 [0-9]+s kind=test,rank=1" kubectl get cm c1 --show-labels
matches "c1 1 [0-9]+s 1 test" kubectl get cm c1 -L rank,kind
hides "NAME" kubectl get cm --no-headers
prints "configmap/c1
configmap/c2
configmap/c3" kubectl get cm -l kind=test -o name
prints "configmap/c1
configmap/c2
configmap/c3" kubectl get cm -l kind=test -o name --chunk-size=1
prints "configmap/c2
configmap/c3" kubectl get cm -l 'kind=test,rank notin (1)' -o name
prints "configmap/c1
configmap/c3" kubectl get cm -l 'rank in (1,3)' -o name
prints "configmap/c1
configmap/c2" kubectl get cm -l 'kind,rank!=3' -o name
prints "configmap/c2" kubectl get cm --field-selector metadata.name=c2 -o name
shows "c1" kubectl get cm --field-selector "metadata.namespace=$NAMESPACE" -o name
refused '"data.rank" is not a known field selector' kubectl get cm --field-selector data.rank=1
refused 'unable to parse requirement' kubectl get cm -l 'a b'
prints "c3 3
c2 2
c1 1" bash -c "kubectl get cm -l kind=test --sort-by='{.data.rank}' -o jsonpath='{range .items[*]}{.metadata.name} {.data.rank}{\"\\n\"}{end}' | tac"
prints "NAME   RANK
c1     1
c2     2
c3     3" kubectl get cm -l kind=test --sort-by=.data.rank -o custom-columns=NAME:.metadata.name,RANK:.data.rank
prints "c1 c2 c3" kubectl get cm -l kind=test -o jsonpath='{.items[*].metadata.name}'
prints "2" kubectl get cm -l kind=test -o jsonpath='{.items[?(@.data.rank=="2")].data.rank}'
prints "c1,c2,c3," kubectl get cm -l kind=test -o go-template='{{range .items}}{{.metadata.name}},{{end}}'
shows '"kind": "List"' kubectl get cm -l kind=test -o json
shows '"kind": "ConfigMap"' kubectl get cm c1 -o json
shows "rank: \"1\"" kubectl get cm c1 -o yaml
matches "$NAMESPACE c1 1 [0-9]+s" kubectl get cm -A -l kind=test
prints "configmap/c1
configmap/c3" kubectl get cm c1 c3 -o name
refused 'Error from server (NotFound): configmaps "none" not found' kubectl get cm c1 none
prints "" kubectl get cm none --ignore-not-found
refused "the server doesn't have a resource type \"nonsense\"" kubectl get nonsense
prints "No resources found in $NAMESPACE namespace." kubectl get secrets -l none=none
shows "created" kubectl create service clusterip s --tcp=80:8080
matches "service/s ClusterIP [0-9.]+ <none> 80/TCP [0-9]+s" kubectl get svc/s cm/c1
matches "s ClusterIP [0-9.]+ <none> 80/TCP [0-9]+s app=s" kubectl get svc s -o wide
shows "service/s" kubectl get all
shows "service/s" kubectl get -f - -o name <<'YAML'
apiVersion: v1
kind: Service
metadata: {name: s}
YAML

# Watching: what is there first, then each change.
timeout 30 kubectl get cm -l kind=test -w --output-watch-events >watched &
watcher=$!
becomes "ADDED c3" cat watched
shows "patched" kubectl patch cm c2 --type=merge -p '{"data":{"more":"1"}}'
shows "deleted" kubectl delete cm c3
becomes "DELETED c3" cat watched
kill "$watcher"
shows "ADDED c1" cat watched
shows "MODIFIED c2" cat watched
timeout 30 kubectl get cm c1 --watch-only -o jsonpath='{.data.more}{"\n"}' >watched &
watcher=$!
becomes "new" bash -c 'kubectl patch cm c1 -p "{\"data\":{\"more\":\"new$RANDOM\"}}" >/dev/null; cat watched'
kill "$watcher"

# Waiting.
shows "configmap/c1 condition met" kubectl wait cm/c1 --for=jsonpath='{.data.rank}'=1 --timeout=10s
shows "configmap/c1 condition met" kubectl wait cm/c1 --for=jsonpath='{.data.more}' --timeout=10s
refused "timed out waiting for the condition on configmaps/c1" \
    kubectl wait cm/c1 --for=jsonpath='{.data.rank}'=9 --timeout=1s
(sleep 1; kubectl delete cm c1 >/dev/null) &
shows "" kubectl wait cm/c1 --for=delete --timeout=20s
(sleep 1; kubectl create cm late >/dev/null) &
shows "configmap/late condition met" kubectl wait cm/late --for=create --timeout=20s
