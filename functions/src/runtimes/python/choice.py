"""Says what the function that _HANDLER names is: a handler, a WSGI app or an ASGI app.

An explicit `signature` decides. Without one, the parameters that must be given do, of the function itself or of the
`__call__` of an object:

    three                                          ASGI: (scope, receive, send)
    two, the first `environ` or `env`              WSGI: (environ, start_response)
    two, the second `start_resp...`                WSGI
    two, the first with `event` in its name        handler
    anything else, called `app` or `application`   WSGI
    anything else                                  handler

Not inspect but the code objects are asked: importing inspect takes longer than the rest of a start.
"""

FUNCTION, METHOD = type(lambda: None), type(shim.Boot.renew)


def choose(target, name, signature):
    """The handler, or the App around it."""
    if signature == "auto":
        signature = guess(target, name)
    if signature == "event":
        return target
    if signature == "wsgi":
        return beside("wsgi").Wsgi(target)
    if signature == "asgi":
        return beside("asgi").Asgi(target)
    raise shim.Failure("Runtime.InvalidSignature", f"signature {signature!r} is not known for Python")


def guess(target, name):
    names, required = parameters(target)
    if required == 3:
        return "asgi"
    if names and names[0] in shim.loading.ENVIRON_NAMES or len(names) > 1 and names[1].startswith("start_resp"):
        return "wsgi"
    if names and "event" in names[0]:
        return "event"
    return "wsgi" if name in shim.loading.APP_NAMES else "event"


def parameters(target):
    """The names of the positional parameters, and how many of them must be given."""
    given = 0
    for _ in range(16):
        if isinstance(target, FUNCTION):
            if not hasattr(target, "__wrapped__"):
                return of_code(target, given)
            # A decorator that says what it wraps: the caller sees the parameters of that.
            target = target.__wrapped__
        elif isinstance(target, METHOD):
            target, given = target.__func__, given + 1
        elif type(target).__name__ == "partial":
            target, given = target.func, given + len(target.args)
        elif isinstance(target, type):
            target, given = target.__init__, given + 1
        else:
            target, given = type(target).__call__, given + 1
    return [], 0


def of_code(function, given):
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    required = code.co_argcount - len(function.__defaults__ or ())
    return [name.lstrip("_") for name in names[given:]], max(0, required - given)
