# needs: nothing
# What the cluster serves, how it says so, and what it explains.
matches "configmaps cm v1 true ConfigMap" kubectl api-resources
matches "deployments deploy apps/v1 true Deployment" kubectl api-resources --api-group=apps
shows "pods" kubectl api-resources --namespaced=true -o name
hides "nodes" kubectl api-resources --namespaced=true -o name
matches "nodes no v1 false Node create,delete,deletecollection,get,list,patch,update,watch" kubectl api-resources -o wide
shows "pods" kubectl api-resources --categories=all -o name
shows "deployments.apps" kubectl api-resources --verbs=list,watch -o name
matches "apps/v1.*batch/v1.*v1" bash -c 'kubectl api-versions | tr "\n" " "'
matches 'Server Version: v1\.[0-9]+' kubectl version
matches '"minor": "[0-9]+' kubectl version -o json
shows "is running at" kubectl cluster-info
prints "ok" kubectl get --raw /healthz
prints "ok" kubectl get --raw /readyz
prints "ok" kubectl get --raw /livez
shows "readyz check passed" kubectl get --raw '/readyz?verbose'
shows '"gitVersion"' kubectl get --raw /version
shows '"kind":"APIVersions"' kubectl get --raw /api
shows '"/apis/apps/v1"' kubectl get --raw /
shows '"swagger":"2.0"' bash -c 'kubectl get --raw /openapi/v2 | head -c 200 | tr -d " "'
shows 'apis/apps/v1' kubectl get --raw /openapi/v3
shows '"openapi":"3.0.0"' bash -c 'kubectl get --raw /openapi/v3/apis/apps/v1 | head -c 200 | tr -d " "'
shows '"name":"default"' kubectl get --raw /api/v1/namespaces/default
refused 'Error from server (NotFound): the server could not find the requested resource' kubectl get --raw /apis/none
shows '"items"' kubectl get --raw "/api/v1/namespaces/$NAMESPACE/configmaps?limit=1"
echo '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"raw"}}' >raw.json
shows '"name":"raw"' bash -c "kubectl create --raw /api/v1/namespaces/$NAMESPACE/configmaps -f raw.json | tr -d ' '"
shows '"status":"Success"' bash -c "kubectl delete --raw /api/v1/namespaces/$NAMESPACE/configmaps/raw | tr -d ' '"

matches "KIND: Pod VERSION: v1" bash -c 'kubectl explain pod | tr "\n" " " | tr -s " "'
shows "containerPort <integer> -required-" kubectl explain pod.spec.containers.ports
shows "FIELD: image <string>" kubectl explain deployment.spec.template.spec.containers.image
shows "GROUP: apps" kubectl explain deployments
shows "matchLabels" kubectl explain deployment.spec --recursive
shows "VERSION: v1" kubectl explain job --api-version=batch/v1
refused 'error: field "nothing" does not exist' kubectl explain pod.spec.nothing
refused "the server doesn't have a resource type \"nonsense\"" kubectl explain nonsense
