#!/usr/bin/python3
import http.client, json, os

connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
BASE = "/2018-06-01/runtime/invocation"


def ask(method, path, body=None):
    connection.request(method, path, body)
    reply = connection.getresponse()
    return reply.headers, reply.read()


while True:
    headers, event = ask("GET", f"{BASE}/next")
    body = ("@START@" + json.loads(event)["rawQueryString"] + "\n") * @LINES@
    ask("POST", f"{BASE}/{headers['Lambda-Runtime-Aws-Request-Id']}/response", json.dumps({"statusCode": 200, "body": body}))
