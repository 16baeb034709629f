import json


def handler(event, context):
    """Called once for each request. The event is an HTTP request, see rawPath, headers and body in it."""
    name = event.get("queryStringParameters", {}).get("name", "world")
    print("saying hello to", name)
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"message": f"Hello, {name}!", "request": context.aws_request_id}),
    }
