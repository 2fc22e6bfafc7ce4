#!/usr/bin/env python3
"""Stands in for Kubernetes' API server and for ECS, as far as the documents' command lines for kubectl and aws go.

Prints its port, and then what it is given, a line each. tests/suite/commands.rs runs it, on 127.0.0.1.
"""
import http.server
import json

# What is seen after a container that was killed: foster's line, which the kubelet takes from the termination log.
KILLED = {"exitCode": 137, "reason": "Error", "message": "foster: incident: command server was killed by SIGKILL"}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "app", "namespace": "default"},
    "spec": {"containers": [{"name": "app", "image": "app:1.0"}]},
    "status": {"containerStatuses": [{"name": "app", "image": "app:1.0", "lastState": {"terminated": KILLED}}]},
}
APPS = {"groupVersion": "apps/v1", "version": "v1"}


def kind(name, singular, namespaced_kind):
    verbs = ["get", "list", "create"]
    return {"name": name, "singularName": singular, "namespaced": True, "kind": namespaced_kind, "verbs": verbs}


ANSWERS = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "groups": [{"name": "apps", "versions": [APPS], "preferredVersion": APPS}]},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [kind("pods", "pod", "Pod")]},
    "/apis/apps/v1": {
        "kind": "APIResourceList",
        "groupVersion": "apps/v1",
        "resources": [kind("deployments", "deployment", "Deployment")],
    },
    "/api/v1/namespaces/default/pods": {"apiVersion": "v1", "kind": "PodList", "items": [POD]},
    "/api/v1/namespaces/default/pods/app": POD,
    "/api/v1/namespaces/default/events": {"apiVersion": "v1", "kind": "EventList", "items": []},
}
NOT_FOUND = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/openapi/v2":
            # An empty description in protobuf: kubectl leaves it to the server to look at what it is given.
            self.answer(200, b"", "application/octet-stream")
        else:
            self.answer(200 if path in ANSWERS else 404, json.dumps(ANSWERS.get(path, NOT_FOUND)).encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        to = self.headers.get("X-Amz-Target")
        print(to or self.path.split("?")[0], json.dumps(json.loads(body)), flush=True)
        self.answer(200, b'{"taskDefinition": %s}' % body if to else body)

    def answer(self, code, body, media_type="application/json"):
        self.send_response(code)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
