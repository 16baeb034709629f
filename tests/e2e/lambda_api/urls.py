import urllib.error, urllib.request

NAME = "with-url"
PORT = os.environ["AWS_ENDPOINT_URL_LAMBDA"].rsplit(":", 1)[1].strip("/")


def code(what):
    return zipped(app_py=f"""
def handler(event, context):
    headers = {{'access-control-allow-origin': 'https://mine', 'x-what': {what!r}}}
    return {{'statusCode': 200, 'headers': headers, 'body': context.invoked_function_arn.rpartition(':')[2]}}
""")


def call(url, method="GET", **headers):
    """Status, headers and body. `*.localhost` is this machine, whatever its resolver says."""
    host = url.removeprefix("http://").rstrip("/")
    headers = {name.replace("_", "-"): value for name, value in headers.items()} | {"Host": host}
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/", method=method, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


aws.create_function(
    FunctionName=NAME, Runtime="python3.11", Role="arn:aws:iam::000000000000:role/any", Handler="app.handler", Timeout=30,
    Code={"ZipFile": code("one")}, Publish=True,
)
refused("ResourceNotFoundException", 404, aws.get_function_url_config, FunctionName=NAME)
made = aws.create_function_url_config(FunctionName=NAME, AuthType="NONE")
assert made["ResponseMetadata"]["HTTPStatusCode"] == 201, made
assert made["FunctionUrl"] == f"http://{NAME}.localhost:{PORT}/" and made["AuthType"] == "NONE", made
assert made["InvokeMode"] == "BUFFERED" and "Cors" not in made and made["CreationTime"], made
assert made["FunctionArn"] == f"arn:aws:lambda:us-east-1:000000000000:function:{NAME}", made
refused("ResourceConflictException", 409, aws.create_function_url_config, FunctionName=NAME, AuthType="NONE")

# Without rules the function answers browsers by itself.
status, headers, body = call(made["FunctionUrl"], Origin="https://a.example")
assert (status, headers["x-what"], body) == (200, "one", NAME), (status, body)
assert headers["access-control-allow-origin"] == "https://mine", headers.items()

# With rules the platform does, and the function does not run for a question.
cors = {
    "AllowOrigins": ["https://a.example"], "AllowMethods": ["GET", "PUT"], "AllowHeaders": ["x-one"],
    "ExposeHeaders": ["x-what"], "AllowCredentials": True, "MaxAge": 600,
}
changed = aws.update_function_url_config(FunctionName=NAME, Cors=cors, InvokeMode="RESPONSE_STREAM")
assert changed["Cors"] == cors and changed["InvokeMode"] == "RESPONSE_STREAM", changed
assert changed["CreationTime"] == made["CreationTime"] and changed["LastModifiedTime"], changed
seen = aws.get_function_url_config(FunctionName=NAME)
seen.pop("ResponseMetadata"), changed.pop("ResponseMetadata")
assert seen == changed, seen
asks = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "x-one"}
status, headers, body = call(made["FunctionUrl"], "OPTIONS", Origin="https://a.example", **asks)
assert status == 200 and body == "" and "x-fn-start" not in headers, (status, headers.items())
assert headers["access-control-allow-origin"] == "https://a.example" and headers["access-control-max-age"] == "600"
assert headers["access-control-allow-methods"] == "GET,PUT" and headers["access-control-allow-headers"] == "x-one"
status, headers, body = call(made["FunctionUrl"], "OPTIONS", Origin="https://b.example", **asks)
assert "access-control-allow-origin" not in headers, headers.items()
status, headers, body = call(made["FunctionUrl"], Origin="https://a.example")
assert status == 200 and headers.get_all("access-control-allow-origin") == ["https://a.example"], headers.items()
assert headers["access-control-expose-headers"] == "x-what" and headers["access-control-allow-credentials"] == "true"
assert headers["vary"] == "Origin", headers.items()

# An alias has an address of its own.
aws.update_function_code(FunctionName=NAME, ZipFile=code("two"))
aws.create_alias(FunctionName=NAME, Name="prod", FunctionVersion="1")
alias = aws.create_function_url_config(FunctionName=NAME, Qualifier="prod", AuthType="NONE", Cors={"AllowOrigins": ["*"]})
assert alias["FunctionUrl"] == f"http://prod.{NAME}.localhost:{PORT}/" and alias["FunctionArn"].endswith(f":{NAME}:prod"), alias
status, headers, body = call(alias["FunctionUrl"], Origin="https://b.example")
assert (status, headers["x-what"], body, headers["access-control-allow-origin"]) == (200, "one", "prod", "*"), body
assert call(made["FunctionUrl"])[1]["x-what"] == "two"
assert call(f"http://nothing.{NAME}.localhost:{PORT}/")[0] == 404
listed = list(aws.get_paginator("list_function_url_configs").paginate(FunctionName=NAME, PaginationConfig={"PageSize": 1}))
urls = [one["FunctionUrl"] for page in listed for one in page["FunctionUrlConfigs"]]
assert urls == [made["FunctionUrl"], alias["FunctionUrl"]] and len(listed) == 2, urls

# What can't be.
bad = lambda **more: refused("InvalidParameterValueException", 400, aws.update_function_url_config, FunctionName=NAME, **more)
bad(AuthType="AWS_IAM")
bad(Cors={"AllowOrigins": ["https://a.example/"]})
bad(Cors={"AllowOrigins": ["*"], "AllowCredentials": True})
aws.create_alias(FunctionName=NAME, Name="Upper", FunctionVersion="1")
create = aws.create_function_url_config
refused("InvalidParameterValueException", 400, create, FunctionName=NAME, Qualifier="Upper", AuthType="NONE")
refused("ResourceNotFoundException", 404, create, FunctionName=NAME, Qualifier="absent", AuthType="NONE")
refused("ResourceNotFoundException", 404, create, FunctionName="nobody", AuthType="NONE")

# Gone is gone, and what goes with an alias does not come back with it.
aws.delete_alias(FunctionName=NAME, Name="prod")
aws.create_alias(FunctionName=NAME, Name="prod", FunctionVersion="1")
refused("ResourceNotFoundException", 404, aws.get_function_url_config, FunctionName=NAME, Qualifier="prod")
assert call(alias["FunctionUrl"], Origin="https://b.example")[1]["access-control-allow-origin"] == "https://mine"

# A reply that is made piece by piece goes out when all of it is there, or as it is made.
streams = """
def handler(event, context):
    what = event["rawQueryString"]

    def pieces():
        yield b"first"
        for _ in range({"big": 8, "fail": 3}.get(what, 0)):
            yield b"x" * 1024 * 1024
        if what == "fail":
            raise ValueError("in the middle")

    return {"statusCode": 201, "headers": {"x-what": "streams"}, "body": pieces()}
"""
aws.create_function(
    FunctionName="streams", Runtime="python3.11", Role="arn:aws:iam::000000000000:role/any", Handler="app.handler", Timeout=30,
    Code={"ZipFile": zipped(app_py=streams)},
)


def piecewise(what, method="GET"):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", int(PORT), timeout=60)
    connection.request(method, f"/?{what}", headers={"Host": f"streams.localhost:{PORT}"})
    answer = connection.getresponse()
    try:
        return answer.status, answer.headers, answer.read()
    except http.client.IncompleteRead as broken:
        return answer.status, answer.headers, broken
    finally:
        connection.close()


def flows(what):
    status, headers, body = piecewise(what)
    assert (status, headers["transfer-encoding"], headers["content-length"]) == (201, "chunked", None), (status, headers.items())
    return body


assert flows("") == b"first" and len(flows("big")) == 5 + 8 * 1024 * 1024
assert isinstance(flows("fail"), Exception)
aws.create_function_url_config(FunctionName="streams", AuthType="NONE")
status, headers, body = piecewise("")
assert (status, headers["content-length"], headers["x-what"], body) == (201, "5", "streams", b"first"), (status, headers.items())
assert headers["transfer-encoding"] is None, headers.items()
assert piecewise("", "HEAD")[0] == 201
for what, code in (("big", "bad_reply"), ("fail", "function_error")):
    status, headers, body = piecewise(what)
    assert status == 502 and json.loads(body)["error"]["code"] == code, (status, body[:300])
aws.update_function_url_config(FunctionName="streams", InvokeMode="RESPONSE_STREAM")
assert flows("") == b"first" and len(flows("big")) == 5 + 8 * 1024 * 1024
aws.delete_function(FunctionName="streams")
