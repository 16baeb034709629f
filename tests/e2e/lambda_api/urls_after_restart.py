seen = aws.get_function_url_config(FunctionName="with-url")
assert seen["InvokeMode"] == "RESPONSE_STREAM" and seen["Cors"]["AllowOrigins"] == ["https://a.example"], seen

import urllib.request

port = os.environ["AWS_ENDPOINT_URL_LAMBDA"].rsplit(":", 1)[1].strip("/")
assert seen["FunctionUrl"] == f"http://with-url.localhost:{port}/", seen
asked = {"Host": f"with-url.localhost:{port}", "Origin": "https://a.example"}
with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/", headers=asked)) as answer:
    assert answer.headers["access-control-allow-origin"] == "https://a.example", answer.headers.items()
assert aws.delete_function_url_config(FunctionName="with-url")["ResponseMetadata"]["HTTPStatusCode"] == 204
refused("ResourceNotFoundException", 404, aws.get_function_url_config, FunctionName="with-url")
refused("ResourceNotFoundException", 404, aws.delete_function_url_config, FunctionName="with-url")
