import json
from urllib.parse import parse_qs


async def app(scope, receive, send):
    """Called once for each request, as an ASGI server would: a FastAPI or Starlette app may stand here as well."""
    if scope["type"] != "http":
        raise ValueError("this app has no start and no end of its own")
    name = parse_qs(scope["query_string"].decode()).get("name", ["world"])[0]
    print("saying hello to", name)
    body = json.dumps({"message": f"Hello, {name}!", "path": scope["path"]}).encode()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
