import functions_framework


@functions_framework.http
def hello(request):
    return {"message": f"Hello, {request.args.get('name', 'world')}!"}
