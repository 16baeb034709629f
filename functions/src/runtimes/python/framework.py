"""Functions of the Functions Framework, which is asked for the app that it would serve.

The framework loads the function's file itself, because a file may use what the framework prepares before. So what the
function is has to be seen before, by the text of its file.
"""

import os
import re

DECORATED = r"^@[\w.]*\b(?:http|cloud_event|typed)\b[^\n]*\n(?:@[^\n]*\n)*(?:async[ \t]+)?def[ \t]+%s\b"
ONE_REQUEST = r"^(?:async[ \t]+)?def[ \t]+%s[ \t]*\(\s*_*request\s*(?::[^,()]*)?,?\s*\)"


def is_meant(text, name):
    """Whether the file's text makes the function one of the framework: decorated by it, or of one parameter `request`."""
    if "functions_framework" in text and re.search(DECORATED % re.escape(name), text, re.MULTILINE):
        return True
    return re.search(ONE_REQUEST % re.escape(name), text, re.MULTILINE) is not None


def load(module, name, source, signature):
    """The App. The function's own decorator comes before the signature, and that before FUNCTION_SIGNATURE_TYPE."""
    if source is None:
        place = module.replace(".", "/")
        message = f"there is no module {module!r}: the function has neither {place}.py nor {place}/__init__.py"
        raise shim.Failure("Runtime.ImportModuleError", message)

    def make():
        import functions_framework

        return functions_framework.create_app(name, source, None if signature == "auto" else signature)

    try:
        app = shim.loading.imported(module, make)
    except Exception as error:
        if type(error).__name__ in ("MissingTargetException", "InvalidTargetTypeException"):
            raise shim.Failure("Runtime.HandlerNotFound", str(error)) from None
        raise
    # The framework leaves here what it has decided.
    gate = beside("cloudevents").fault if os.environ.get("FUNCTION_SIGNATURE_TYPE") == "cloudevent" else None
    if hasattr(app, "wsgi_app"):
        return beside("wsgi").Wsgi(app, gate)
    return beside("asgi").Asgi(app, gate)
