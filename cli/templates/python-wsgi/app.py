import json
from urllib.parse import parse_qs


def app(environ, start_response):
    """Called once for each request, as a WSGI server would: a Flask or Django app may stand here as well."""
    name = parse_qs(environ["QUERY_STRING"]).get("name", ["world"])[0]
    print("saying hello to", name)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"message": f"Hello, {name}!", "path": environ["PATH_INFO"]}).encode()]
