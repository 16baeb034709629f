"""Says what is wrong with a CloudEvent in a request, before a framework sees it: frameworks take some of this for an error
of the function. After the HTTP protocol binding of CloudEvents 1.0."""

import json


def fault(request):
    """Status and text of a refusal; None for an event in binary or structured mode, and for what is none at all: a framework
    may know events from before CloudEvents."""
    kind = (request.header("content-type") or b"").partition(b";")[0].strip().lower()
    if kind.startswith(b"application/cloudevents-batch"):
        return 415, "a batch of CloudEvents is not taken: send one event in each request"
    if kind.startswith(b"application/cloudevents"):
        if kind != b"application/cloudevents+json":
            return 415, "of structured CloudEvents only application/cloudevents+json is taken"
        try:
            event = json.loads(request.body)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            return 400, "the CloudEvent is not a JSON object"
    elif any(name.startswith("ce-") for name, _ in request.lines):
        event = {name[3:]: value.decode("utf-8", "replace") for name, value in request.lines if name.startswith("ce-")}
    else:
        return None
    for name in ("specversion", "id", "source", "type"):
        if not isinstance(event.get(name), str) or not event[name]:
            return 400, f"the CloudEvent has no {name}"
    if event["specversion"] not in ("1.0", "0.3"):
        return 400, "the specversion of the CloudEvent is neither 1.0 nor 0.3"
    return None
