# needs: nodes
# Files in and out of a container, and its ports on this machine.
cat >server.yaml <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: server}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: python:3.12-alpine
    command: [python3, -c]
    args:
    - |
      import http.server, os
      class Answer(http.server.BaseHTTPRequestHandler):
          def do_GET(self):
              self.send_response(200); self.end_headers(); self.wfile.write(b"served")
          def log_message(self, *_): pass
      http.server.HTTPServer((os.environ["IP"], 8080), Answer).serve_forever()
    env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
    ports: [{name: http, containerPort: 8080}]
    readinessProbe: {httpGet: {port: http}, periodSeconds: 1}
YAML
shows "created" kubectl apply -f server.yaml
shows "condition met" kubectl wait pod/server --for=condition=Ready --timeout=120s
timeout 60 kubectl port-forward pod/server :8080 >forwarded 2>&1 &
forwarder=$!
becomes "Forwarding from 127.0.0.1:" cat forwarded
port=$(sed -n 's/Forwarding from 127.0.0.1:\([0-9]*\).*/\1/p' forwarded)
ask='import sys, urllib.request; print(urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/").read().decode())'
becomes "served" python3 -c "$ask" "$port"
kill "$forwarder"
shows "exposed" kubectl expose pod server --port=80 --target-port=http
timeout 60 kubectl port-forward service/server :80 >forwarded 2>&1 &
forwarder=$!
becomes "Forwarding from 127.0.0.1:" cat forwarded
port=$(sed -n 's/Forwarding from 127.0.0.1:\([0-9]*\).*/\1/p' forwarded)
becomes "served" python3 -c "$ask" "$port"
kill "$forwarder"

echo "carried in" >in.txt
folder=$(kubectl exec server -- sh -c 'mktemp -d')
prints "" kubectl cp in.txt "server:$folder/in.txt"
prints "carried in" kubectl exec server -- cat "$folder/in.txt"
shows "" kubectl cp "server:$folder/in.txt" out.txt
prints "carried in" cat out.txt
prints "" kubectl exec server -- rm -r "$folder"
shows "deleted" kubectl delete -f server.yaml
