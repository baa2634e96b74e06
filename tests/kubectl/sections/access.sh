# needs: nothing
# Who may do what: roles, impersonation, tokens, and the words of a refusal.
prints "yes" kubectl auth can-i create pods
prints "yes" kubectl auth can-i '*' '*' --all-namespaces
matches "ATTRIBUTE VALUE Username" bash -c 'kubectl auth whoami | tr "\n" " " | tr -s " "'
shows "created" kubectl create serviceaccount robot
robot="system:serviceaccount:$NAMESPACE:robot"
shows "created" kubectl create role reader --verb=get,list,watch --resource=configmaps
shows "created" kubectl create rolebinding robot-reads --role=reader --serviceaccount="$NAMESPACE:robot"
prints "yes" kubectl auth can-i list configmaps --as="$robot"
refused "no" kubectl auth can-i delete configmaps --as="$robot"
refused "no" kubectl auth can-i list configmaps --as="$robot" -n default
shows "configmaps" kubectl auth can-i --list --as="$robot"
refused "Error from server (Forbidden): secrets is forbidden: User \"$robot\" cannot list resource \"secrets\" in API group \"\" in the namespace \"$NAMESPACE\"" \
    kubectl get secrets --as="$robot"
refused "nodes is forbidden: User \"jane\" cannot list resource \"nodes\" in API group \"\" at the cluster scope" kubectl get nodes --as=jane
refused "deployments.apps \"d\" is forbidden: User \"jane\" cannot delete resource \"deployments\" in API group \"apps\" in the namespace \"$NAMESPACE\"" \
    kubectl delete deployment d --as=jane
shows "yes" kubectl auth can-i get nodes --as=jane --as-group=system:masters

# With a token of its own.
token=$(kubectl create token robot --duration=1h)
kubectl config view --raw --flatten --minify >robot
kubectl --kubeconfig robot config set-credentials robot --token="$token" >/dev/null
kubectl --kubeconfig robot config set-context --current --user=robot >/dev/null
shows "$robot" kubectl --kubeconfig robot auth whoami
shows "" kubectl --kubeconfig robot get configmaps
refused "cannot create resource \"configmaps\"" kubectl --kubeconfig robot create configmap c
refused "cannot list resource \"pods\"" kubectl --kubeconfig robot get pods
shows "deleted" kubectl delete rolebinding robot-reads
becomes "no" bash -c "kubectl auth can-i list configmaps --as=$robot || true"

# A wrong token, and none.
kubectl --kubeconfig robot config set-credentials robot --token=wrong >/dev/null
refused "You must be logged in to the server" kubectl --kubeconfig robot get pods
refused 'cannot create resource "rolebindings" in API group "rbac.authorization.k8s.io"' \
    kubectl create rolebinding b --clusterrole=admin --user=jane --as="$robot"
