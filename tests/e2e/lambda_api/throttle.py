import threading

NAME = "lambda-narrow"
aws.invoke(FunctionName=NAME)


other = boto3.client("lambda")


def hold():
    # The one instance may be taken by a call of the other thread at first.
    while True:
        try:
            return other.invoke(FunctionName=NAME, Payload=json.dumps({"do": "sleep", "seconds": 3}))
        except other.exceptions.TooManyRequestsException:
            time.sleep(0.02)


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

# Nobody may call a function that has no call reserved for it, on whatever way.
import urllib.error, urllib.request

aws.put_function_concurrency(FunctionName=NAME, ReservedConcurrentExecutions=0)
assert aws.get_function(FunctionName=NAME)["Concurrency"] == {"ReservedConcurrentExecutions": 0}
assert aws.get_function_concurrency(FunctionName=NAME)["ReservedConcurrentExecutions"] == 0
response = refused("TooManyRequestsException", 429, aws.invoke, FunctionName=NAME)
assert response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded", response
try:
    urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL_LAMBDA"] + f"/function/{NAME}")
    raise AssertionError("the function was called")
except urllib.error.HTTPError as error:
    assert error.code == 429, error
aws.put_function_concurrency(FunctionName=NAME, ReservedConcurrentExecutions=1)
until("a call that is let in again", lambda: not throttled())
aws.delete_function_concurrency(FunctionName=NAME)
assert "ReservedConcurrentExecutions" not in aws.get_function_concurrency(FunctionName=NAME)
