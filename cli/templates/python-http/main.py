import functions_framework


@functions_framework.http
def hello(request):
    """Called once for each request, a flask.Request, by the Functions Framework."""
    name = request.args.get("name", "world")
    print("saying hello to", name)
    return {"message": f"Hello, {name}!", "path": request.path}
