# needs: nothing
# Describing what people ask about most.
shows "created" kubectl create deployment web --image=web:1 --replicas=0 --port=80
shows "exposed" kubectl expose deployment web --port=80 --target-port=80
matches "Name: web" kubectl describe deployment web
matches "Selector: app=web" kubectl describe deployment web
matches "StrategyType: RollingUpdate" kubectl describe deployment web
matches "RollingUpdateStrategy: 25% max unavailable, 25% max surge" kubectl describe deployment web
matches "Type: ClusterIP" kubectl describe service web
matches "Selector: app=web" kubectl describe service web
matches "TargetPort: 80/TCP" kubectl describe service web
matches "Session Affinity: None" kubectl describe service web
shows "created" kubectl create configmap c --from-literal=key=value
shows "value" kubectl describe configmap c
shows "created" kubectl create secret generic s --from-literal=key=value
matches "key: 5 bytes" kubectl describe secret s
hides "value" kubectl describe secret s
matches "Status: Active" kubectl describe namespace "$NAMESPACE"
shows "created" kubectl create role r --verb=get --resource=pods
matches "pods \[\] \[\] \[get\]" kubectl describe role r
shows "created" kubectl create rolebinding b --role=r --user=jane
matches "User jane" kubectl describe rolebinding b
shows "created" kubectl create serviceaccount a
matches "Name: a" kubectl describe serviceaccount a
refused 'Error from server (NotFound): deployments.apps "none" not found' kubectl describe deployment none
