import threading

NAME = "lambda-narrow"
aws.invoke(FunctionName=NAME)


def hold():
    boto3.client("lambda").invoke(FunctionName=NAME, Payload=json.dumps({"do": "sleep", "seconds": 3}))


def throttled():
    try:
        aws.invoke(FunctionName=NAME)
    except aws.exceptions.TooManyRequestsException as error:
        return error.response


holder = threading.Thread(target=hold)
holder.start()
response = until("a throttled call", throttled)
assert response["ResponseMetadata"]["HTTPStatusCode"] == 429, response
assert response["Reason"] == "ConcurrentInvocationLimitExceeded", response
assert response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1", response
# An event that finds no instance waits for one.
assert aws.invoke(FunctionName=NAME, InvocationType="Event", Payload=b'{"do": "write", "what": "at last"}')["StatusCode"] == 202
holder.join()
