"""From what _HANDLER names to a function of event and context, or to an App, and to the words for what is wrong with it."""

import os
import sys

# What of a handler says that it is an app, see choice.py.
APP_NAMES = ("app", "application")
ENVIRON_NAMES = ("environ", "env")
ANY_NUMBER = 0x04 | 0x08


def module_name(spec):
    """The module of what _HANDLER names."""
    return spec.rpartition(".")[0].replace("/", ".")


def load(spec):
    """What _HANDLER names: a function of event and context, or an App."""
    module, name = module_name(spec), spec.rpartition(".")[2]
    if not name or not module.strip("."):
        raise shim.Failure("Runtime.MalformedHandlerName", f'handler {spec!r} does not have the form "module.function"')
    signature = os.environ.get("FN_SIGNATURE", "auto")
    if signature in ("auto", "http", "cloudevent"):
        source = source_of(module)
        if signature != "auto" or is_framework(source, name):
            return beside("framework").load(module, name, source, signature)
    loaded = imported(module, lambda: __import__(module) and sys.modules[module])
    handler = getattr(loaded, name, None)
    if handler is None:
        raise missing_function(loaded, name)
    if not callable(handler):
        raise shim.Failure("Runtime.HandlerNotFound", f"{name} in {module} is a {type(handler).__name__}, not a function")
    if signature == "event" or (signature == "auto" and is_plain(handler, name)):
        return handler
    return beside("choice").choose(handler, name, signature)


def source_of(module):
    """The file of a module of the function; None for a module that comes from elsewhere."""
    place = module.replace(".", "/")
    return next((file for file in (place + ".py", place + "/__init__.py") if os.path.isfile(file)), None)


def is_framework(source, name):
    """Whether the function is one of the Functions Framework, see framework.py."""
    if source is None:
        return False
    if "FUNCTION_SIGNATURE_TYPE" in os.environ:
        return True
    with open(source, encoding="utf-8", errors="replace") as file:
        text = file.read()
    return ("functions_framework" in text or "request" in text) and beside("framework").is_meant(text, name)


def imported(module, act):
    """What act returns, which imports the module. Its failures get the platform's words."""
    try:
        return act()
    except ModuleNotFoundError as error:
        raise missing_module(error, module) from None
    except SyntaxError as error:
        raise syntax_error(error) from None
    except SystemExit as error:
        raise shim.Failure("Runtime.ExitError", f"{module} called exit({error.code!r}) while it was imported") from None


def is_plain(handler, name):
    """Whether this is a function of two parameters that nothing marks as those of WSGI. All else is looked at more closely."""
    code = getattr(handler, "__code__", None)
    if code is None or code.co_argcount != 2 or code.co_flags & ANY_NUMBER or name in APP_NAMES:
        return False
    return code.co_varnames[0] not in ENVIRON_NAMES and not code.co_varnames[1].startswith("start_resp")


def missing_module(error, module):
    wanted = error.name or ""
    if wanted and (module == wanted or module.startswith(wanted + ".")):
        place = module.replace(".", "/")
        message = f"there is no module {module!r}: the function has neither {place}.py nor {place}/__init__.py"
        return shim.Failure("Runtime.ImportModuleError", message)
    import traceback

    stack = [entry for entry in traceback.extract_tb(error.__traceback__) if not shim.is_ours(entry.filename)]
    message = f"{module} needs the module {wanted!r}, which the function does not have; is it in requirements.txt?"
    return shim.Failure("Runtime.ImportModuleError", message, traceback.format_list(stack))


def syntax_error(error):
    import traceback

    where = os.path.basename(error.filename or "?")
    message = f"{error.msg} ({where}, line {error.lineno})"
    return shim.Failure("Runtime.UserCodeSyntaxError", message, traceback.format_exception_only(type(error), error))


def missing_function(module, name):
    functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    offered = "it has " + ", ".join(functions[:10]) if functions else "it defines no function"
    return shim.Failure("Runtime.HandlerNotFound", f"{module.__name__} has no function {name!r}; {offered}")
