import functions_framework


@functions_framework.cloud_event
def receive(event):
    """Called once for each CloudEvent, by the Functions Framework. What it prints is in `fn logs`."""
    print("received", event["type"], "from", event["source"], event.data)
