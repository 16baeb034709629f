def handle(body):
    return f"Hello, {body or 'world'}!\n"
