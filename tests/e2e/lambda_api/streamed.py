def stream(name, event=None, **more):
    """The chunks of a call, and what stands in InvokeComplete."""
    answer = aws.invoke_with_response_stream(FunctionName=name, Payload=json.dumps({} if event is None else event), **more)
    assert answer["StatusCode"] == 200 and answer["ExecutedVersion"] == "$LATEST", answer
    assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream", answer
    chunks, complete = [], None
    for message in answer["EventStream"]:
        assert complete is None, message
        if "PayloadChunk" in message:
            chunks.append(message["PayloadChunk"]["Payload"])
        else:
            complete = message["InvokeComplete"]
    assert complete is not None, "the stream did not say that it is complete"
    return chunks, complete


# A handler that returns has one chunk, or more when there is much.
chunks, complete = stream("stream-echo", {"a": 1})
assert json.loads(b"".join(chunks))["event"] == {"a": 1} and complete == {}, (chunks, complete)
chunks, complete = stream("stream-echo", {"do": "big", "size": 3 << 20})
assert len(chunks) == 4 and len(b"".join(chunks)) == (3 << 20) + 2 and complete == {}, [len(chunk) for chunk in chunks]

# One that streams has what it writes; its head stands before the body where it gave one.
chunks, complete = stream("stream-node", {"pieces": ["one", "two", "three"]})
assert b"".join(chunks) == b"onetwothree" and complete == {}, (chunks, complete)
chunks, complete = stream("stream-node", {"pieces": ["é"], "head": {"statusCode": 201, "headers": {"x-a": "b"}, "cookies": ["c=1"]}})
head, _, body = b"".join(chunks).partition(bytes(8))
assert json.loads(head) == {"statusCode": 201, "headers": {"x-a": "b"}, "cookies": ["c=1"]} and body == "é".encode(), chunks
chunks, complete = stream("stream-cat", {"to": "cat"})
assert json.loads(b"".join(chunks)) == {"to": "cat"} and complete == {}, chunks

# A chunk comes before the call is over: this function sleeps after its first.
answer = aws.invoke_with_response_stream(FunctionName="stream-node", Payload=b'{"pieces": ["first"], "hang": true}')
messages = iter(answer["EventStream"])
assert next(messages)["PayloadChunk"]["Payload"] == b"first"
answer["EventStream"].close()

# What a function does wrong stands at the end, before or after chunks.
chunks, complete = stream("stream-echo", {"do": "raise"})
assert chunks == [] and complete["ErrorCode"] == "ValueError", complete
assert json.loads(complete["ErrorDetails"])["errorMessage"] == "no such thing", complete
chunks, complete = stream("stream-node", {"pieces": ["half"], "fail": "late"})
assert chunks == [b"half"] and json.loads(complete["ErrorDetails"])["errorMessage"] == "late", (chunks, complete)
chunks, complete = stream("stream-echo", {"do": "exit"})
assert complete["ErrorCode"] == "Runtime.ExitError" and "exit status 3" in complete["ErrorDetails"], complete
chunks, complete = stream("stream-echo", {"do": "sleep", "seconds": 60})
assert complete["ErrorCode"] == "Sandbox.Timeout", complete
chunks, complete = stream("stream-broken")
assert complete["ErrorCode"] == "Runtime.ImportModuleError", complete

# With its log.
chunks, complete = stream("stream-echo", {"do": "write", "what": "this"}, LogType="Tail")
lines = base64.b64decode(complete["LogResult"]).decode().splitlines()
assert lines[0].startswith("START RequestId: ") and lines[1] == "wrote this" and lines[-1].startswith("REPORT "), lines

# What can't be.
call = aws.invoke_with_response_stream
assert call(FunctionName="stream-echo", InvocationType="DryRun")["StatusCode"] == 204
refused("ResourceNotFoundException", 404, call, FunctionName="stream-nobody")
refused("InvalidRequestContentException", 400, call, FunctionName="stream-echo", Payload=b"{no json")
