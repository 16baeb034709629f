NAME = "lambda-echo"
ARN = f"arn:aws:lambda:us-east-1:000000000000:function:{NAME}"

# The event goes in as it is, and the result comes out as it is.
event = {"n": 1, "text": "é\u2028", "list": [None, True, 1.5]}
answer = aws.invoke(FunctionName=NAME, Payload=json.dumps(event))
assert answer["StatusCode"] == 200 and answer["ExecutedVersion"] == "$LATEST", answer
assert "FunctionError" not in answer and "LogResult" not in answer, answer
seen = payload(answer)
assert seen["event"] == event and seen["arn"] == ARN and seen["custom"] is None, seen
assert seen["id"] == answer["ResponseMetadata"]["RequestId"], answer
assert payload(aws.invoke(FunctionName=NAME))["event"] == {}
for value in ([], "text", 7, None):
    assert payload(aws.invoke(FunctionName=NAME, Payload=json.dumps(value)))["event"] == value

# One function, many names.
for name in (f"{NAME}:$LATEST", f"000000000000:function:{NAME}", ARN, f"{ARN}:$LATEST"):
    answer = aws.invoke(FunctionName=name)
    assert answer["ExecutedVersion"] == "$LATEST", answer
    assert payload(answer)["arn"] == ARN + (":$LATEST" if "$" in name else ""), name
aws.invoke(FunctionName=NAME, Qualifier="$LATEST")
refused("ResourceNotFoundException", 404, aws.invoke, FunctionName="lambda-nobody")
refused("ResourceNotFoundException", 404, aws.invoke, FunctionName=NAME, Qualifier="7")
refused("ResourceNotFoundException", 404, aws.invoke, FunctionName=NAME, Qualifier="prod")
refused("InvalidParameterValueException", 400, aws.invoke, FunctionName="Has_Capitals")
refused("InvalidRequestContentException", 400, aws.invoke, FunctionName=NAME, Payload=b"{no json")
refused("InvalidRequestContentException", 400, aws.invoke, FunctionName=NAME, Payload=b'"\xff"')

# Who calls.
context = base64.b64encode(b'{"custom": {"a": 1}}').decode()
for name in (NAME, "lambda-node"):
    assert payload(aws.invoke(FunctionName=name, ClientContext=context))["custom"] == {"a": 1}, name
refused("InvalidRequestContentException", 400, aws.invoke, FunctionName=NAME, ClientContext="bm8=")

# A dry run runs nothing.
assert aws.invoke(FunctionName=NAME, InvocationType="DryRun")["StatusCode"] == 204


def error(name, event):
    answer = aws.invoke(FunctionName=name, Payload=json.dumps(event))
    assert answer["StatusCode"] == 200 and answer["FunctionError"] == "Unhandled", answer
    return payload(answer)


# What a function does wrong is a result of its own kind.
raised = error(NAME, {"do": "raise"})
assert raised["errorType"] == "ValueError" and raised["errorMessage"] == "no such thing", raised
assert any("handler.py" in line for line in raised["stackTrace"]), raised
ended = error(NAME, {"do": "exit"})
assert ended["errorType"] == "Runtime.ExitError" and "exit status 3" in ended["errorMessage"], ended
late = error(NAME, {"do": "sleep", "seconds": 60})
assert late["errorType"] == "Sandbox.Timeout" and "Task timed out after 2.00 seconds" in late["errorMessage"], late
assert error("lambda-broken", {})["errorType"] == "Runtime.ImportModuleError"

# The log of one invocation, its last 4 KB.
answer = aws.invoke(FunctionName=NAME, LogType="Tail", Payload=json.dumps({"do": "print"}))
tail = base64.b64decode(answer["LogResult"]).decode()
assert len(tail) == 4096 and "the last line\nEND RequestId: " in tail and tail.startswith("x"), tail[-400:]
answer = aws.invoke(FunctionName=NAME, LogType="Tail", Payload=json.dumps({"do": "write", "what": "this"}))
request = answer["ResponseMetadata"]["RequestId"]
lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
assert lines[0] == f"START RequestId: {request} Version: $LATEST", lines
assert lines[1:3] == ["wrote this", f"END RequestId: {request}"], lines
assert lines[3].startswith(f"REPORT RequestId: {request}\tDuration: "), lines
assert "\tMemory Size: 256 MB" in lines[3] and len(lines) == 4, lines
answer = aws.invoke(FunctionName=NAME, LogType="Tail", Payload=json.dumps({"do": "raise"}))
assert "[ERROR] ValueError: no such thing" in base64.b64decode(answer["LogResult"]).decode()

# The limit counts the JSON, both ways.
LIMIT = 6 * 1024 * 1024
frame = len(json.dumps({"do": "length", "text": ""}))
largest = json.dumps({"do": "length", "text": "x" * (LIMIT - frame)})
assert len(largest) == LIMIT and payload(aws.invoke(FunctionName=NAME, Payload=largest)) == LIMIT - frame
refused("RequestTooLargeException", 413, aws.invoke, FunctionName=NAME, Payload=largest + " ")
assert len(aws.invoke(FunctionName=NAME, Payload=json.dumps({"do": "big", "size": LIMIT - 2}))["Payload"].read()) == LIMIT
assert error(NAME, {"do": "big", "size": LIMIT - 1})["errorType"] == "Function.ResponseSizeTooLarge"

# A program that is no handler gets the event on its input, and its reply comes as a document.
answer = payload(aws.invoke(FunctionName="lambda-cat", Payload=json.dumps(event)))
assert answer["statusCode"] == 200 and json.loads(answer["body"]) == event, answer

# Accepted is not run yet, but it will be.
refused("RequestTooLargeException", 413, aws.invoke, FunctionName=NAME, InvocationType="Event", Payload='"' + "x" * (1 << 20) + '"')
accepted = aws.invoke(FunctionName=NAME, InvocationType="Event", Payload=json.dumps({"do": "write", "what": "later"}))
assert accepted["StatusCode"] == 202 and accepted["Payload"].read() == b"", accepted
