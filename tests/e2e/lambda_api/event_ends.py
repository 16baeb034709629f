ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
common = dict(Runtime="python3.11", Role="arn:aws:iam::000000000000:role/any", Handler="app.handler", Timeout=30)
sources = {
    "worker": "def handler(event, context):\n    raise ValueError('always')\n",
    "told": "import json\n\ndef handler(event, context):\n    print('RECORD', json.dumps(event))\n",
    "ping": "def handler(event, context):\n    return 1\n",
    "pong": "def handler(event, context):\n    return 2\n",
}
for name, source in sources.items():
    aws.create_function(FunctionName=name, Code={"ZipFile": zipped(app_py=source)}, **common)


def leads(name, on, to, **more):
    config = {on: {"Destination": ARN + to}}
    aws.put_function_event_invoke_config(FunctionName=name, DestinationConfig=config, **more)


leads("worker", "OnFailure", "told", MaximumEventAgeInSeconds=60)
leads("ping", "OnSuccess", "pong")
leads("pong", "OnSuccess", "ping")
for name in ("worker", "ping"):
    assert aws.invoke(FunctionName=name, InvocationType="Event", Payload="{}")["StatusCode"] == 202
