NAME = "own-runtime"
BOOTSTRAP = """#!/usr/bin/python3
import http.client, json, os

connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    connection.request("GET", "/2018-06-01/runtime/invocation/next")
    reply = connection.getresponse()
    event, id = json.loads(reply.read()), reply.headers["Lambda-Runtime-Aws-Request-Id"]
    if event.get("do") == "exit":
        os._exit(3)
    result = {"event": event, "context": reply.headers["Lambda-Runtime-Client-Context"],
              "trace": reply.headers["Lambda-Runtime-Trace-Id"], "handler": os.environ["_HANDLER"]}
    kind = "error" if event.get("do") == "fail" else "response"
    if kind == "error":
        result = {"errorType": "Own.Kind", "errorMessage": "no luck"}
    connection.request("POST", f"/2018-06-01/runtime/invocation/{id}/{kind}", json.dumps(result))
    connection.getresponse().read()
"""


def archive():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as zip:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o100755 << 16
        zip.writestr(entry, BOOTSTRAP)
    return data.getvalue()


made = aws.create_function(
    FunctionName=NAME, Runtime="provided.al2023", Role="arn:aws:iam::000000000000:role/any", Handler="any thing",
    Timeout=30, Code={"ZipFile": archive()},
)
assert made["Runtime"] == "provided.al2023" and made["Handler"] == "any thing", made
context = {"custom": {"word": "gr\u00fc\u00df \U0001f600", "n": 1}, "client": {}}
coded = base64.b64encode(json.dumps(context, ensure_ascii=False, indent=1).encode()).decode()
answer = aws.invoke(FunctionName=NAME, ClientContext=coded, Payload=b'{"a": 1}', LogType="Tail")
said = payload(answer)
assert said["event"] == {"a": 1} and said["handler"] == "any thing", said
assert json.loads(said["context"]) == context, said
assert said["trace"] is None, said
assert payload(aws.invoke(FunctionName=NAME))["context"] is None
report = base64.b64decode(answer["LogResult"]).decode().splitlines()[-1]
if "Max Memory Used" in report:
    used = int(report.split("Max Memory Used: ")[1].split(" MB")[0])
    assert 1 <= used <= 128, report
failed = aws.invoke(FunctionName=NAME, Payload=b'{"do": "fail"}')
assert failed["FunctionError"] == "Unhandled" and payload(failed)["errorType"] == "Own.Kind"
ended = aws.invoke(FunctionName=NAME, Payload=b'{"do": "exit"}')
assert payload(ended)["errorType"] == "Runtime.ExitError"
changed = aws.update_function_configuration(FunctionName=NAME, Runtime="provided.al2", Handler="other")
assert changed["Runtime"] == "provided.al2", changed
assert payload(aws.invoke(FunctionName=NAME))["handler"] == "other"
refused("InvalidParameterValueException", 400, aws.update_function_configuration, FunctionName=NAME, Runtime="java21")
