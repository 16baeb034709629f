import json

from fdk import response


def handler(ctx, data=None):
    """Called once for each request, by the FDK of the Fn Project."""
    name = (data.getvalue().decode() if data else "") or "world"
    body = json.dumps({"message": f"Hello, {name}!", "call": ctx.CallID()})
    return response.Response(ctx, response_data=body, headers={"Content-Type": "application/json"})
