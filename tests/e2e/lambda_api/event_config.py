ROLE = "arn:aws:iam::000000000000:role/any"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
code = """
def handler(event, context):
    if event.get('fail'):
        raise ValueError('it was asked for')
    return {'got': event['n']}
"""
told = "import json\n\ndef handler(event, context):\n    print('RECORD', json.dumps(event))\n"
common = dict(Runtime="python3.11", Role=ROLE, Handler="app.handler", Timeout=30)
aws.create_function(FunctionName="worker", Code={"ZipFile": zipped(app_py=code)}, Publish=True, **common)
aws.create_function(FunctionName="told", Code={"ZipFile": zipped(app_py=told)}, **common)

refused("ResourceNotFoundException", 404, aws.get_function_event_invoke_config, FunctionName="worker")
destinations = {"OnSuccess": {"Destination": ARN + "told"}, "OnFailure": {"Destination": ARN + "told"}}
put = aws.put_function_event_invoke_config(FunctionName="worker", MaximumRetryAttempts=0, DestinationConfig=destinations)
assert put["FunctionArn"] == ARN + "worker:$LATEST" and put["MaximumRetryAttempts"] == 0, put
assert put["DestinationConfig"] == destinations and put["LastModified"].year >= 2024, put
changed = aws.update_function_event_invoke_config(FunctionName="worker", MaximumEventAgeInSeconds=60)
assert (changed["MaximumRetryAttempts"], changed["MaximumEventAgeInSeconds"]) == (0, 60), changed
assert aws.get_function_event_invoke_config(FunctionName="worker")["DestinationConfig"] == destinations
aws.put_function_event_invoke_config(FunctionName="worker", Qualifier="1", MaximumRetryAttempts=1)
listed = aws.list_function_event_invoke_configs(FunctionName="worker")["FunctionEventInvokeConfigs"]
assert [one["FunctionArn"].rpartition(":")[2] for one in listed] == ["$LATEST", "1"], listed
aws.delete_function_event_invoke_config(FunctionName="worker", Qualifier="1")
refused("ResourceNotFoundException", 404, aws.delete_function_event_invoke_config, FunctionName="worker", Qualifier="1")
refused("ResourceNotFoundException", 404, aws.update_function_event_invoke_config, FunctionName="told", MaximumRetryAttempts=1)
for bad in (
    {"MaximumRetryAttempts": 1, "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:queue"}}},
    {"DestinationConfig": {"OnSuccess": {"Destination": ARN + "nobody"}}},
):
    refused("InvalidParameterValueException", 400, aws.put_function_event_invoke_config, FunctionName="worker", **bad)

# Each end is told to the destination.
for event in ({"n": 1}, {"n": 2, "fail": True}):
    accepted = aws.invoke(FunctionName="worker", InvocationType="Event", Payload=json.dumps(event))
    assert accepted["StatusCode"] == 202
    print("REQUEST", accepted["ResponseMetadata"]["RequestId"])

# An event of a function that is switched off is given up at once, not in six hours.
aws.create_function(FunctionName="off", Code={"ZipFile": zipped(app_py=code)}, **common)
aws.put_function_concurrency(FunctionName="off", ReservedConcurrentExecutions=0)
aws.put_function_event_invoke_config(FunctionName="off", DestinationConfig={"OnFailure": {"Destination": ARN + "told"}})
assert aws.invoke(FunctionName="off", InvocationType="Event", Payload=json.dumps({"n": 3}))["StatusCode"] == 202
