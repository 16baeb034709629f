NAME = "kept"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:" + NAME
INVALID, CONFLICT, NONE = "InvalidParameterValueException", "ResourceConflictException", "ProvisionedConcurrencyConfigNotFoundException"


def code(what):
    return zipped(app_py=f"import os\n\ndef handler(event, context):\n    return [{what!r}, os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']]\n")


aws.create_function(
    FunctionName=NAME, Runtime="python3.11", Role="arn:aws:iam::000000000000:role/any", Handler="app.handler",
    Timeout=30, Code={"ZipFile": code("one")}, Publish=True,
)
aws.update_function_code(FunctionName=NAME, ZipFile=code("two"), Publish=True)
aws.update_function_code(FunctionName=NAME, ZipFile=code("latest"))
aws.create_alias(FunctionName=NAME, Name="live", FunctionVersion="1")
aws.create_alias(FunctionName=NAME, Name="unpublished", FunctionVersion="$LATEST")
aws.create_alias(
    FunctionName=NAME, Name="canary", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.1}},
)


def put(qualifier, count):
    return aws.put_provisioned_concurrency_config(FunctionName=NAME, Qualifier=qualifier, ProvisionedConcurrentExecutions=count)


def ready(qualifier):
    seen = aws.get_provisioned_concurrency_config(FunctionName=NAME, Qualifier=qualifier)
    assert seen["Status"] in ("READY", "IN_PROGRESS"), seen
    return seen if seen["Status"] == "READY" else None


def numbers(seen):
    return [seen[f"{one}ProvisionedConcurrentExecutions"] for one in ("Requested", "Allocated", "Available")]


def refuse(code, status, call, words, **arguments):
    message = refused(code, status, call, FunctionName=NAME, **arguments)["Error"]["Message"]
    assert words in message, message


# What can't be.
for call, words in (
    (aws.get_provisioned_concurrency_config, "must be an alias or a published version"),
    (aws.delete_provisioned_concurrency_config, "must be an alias or a published version"),
):
    refuse(INVALID, 400, call, words, Qualifier="$LATEST")
for qualifier, count, words in (
    ("$LATEST", 1, "unpublished function versions"),
    ("unpublished", 1, "unpublished function versions"),
    ("canary", 1, "Alias with weights"),
    ("1", 1_000_000, "scale.max"),
):
    refuse(INVALID, 400, aws.put_provisioned_concurrency_config, words, Qualifier=qualifier, ProvisionedConcurrentExecutions=count)
for qualifier in ("7", "nobody"):
    refuse("ResourceNotFoundException", 404, aws.put_provisioned_concurrency_config, "not found", Qualifier=qualifier, ProvisionedConcurrentExecutions=1)
    refuse("ResourceNotFoundException", 404, aws.get_provisioned_concurrency_config, "not found", Qualifier=qualifier)
for qualifier in ("1", "live"):
    refuse(NONE, 404, aws.get_provisioned_concurrency_config, "No Provisioned", Qualifier=qualifier)
assert aws.list_provisioned_concurrency_configs(FunctionName=NAME)["ProvisionedConcurrencyConfigs"] == []

# An alias keeps two instances of the version it points to, though another revision is live, and a call finds one.
made = put("live", 2)
assert made["ResponseMetadata"]["HTTPStatusCode"] == 202 and made["Status"] in ("IN_PROGRESS", "READY"), made
assert made["RequestedProvisionedConcurrentExecutions"] == 2 and made["LastModified"].startswith("20"), made
assert numbers(until("both instances", lambda: ready("live"))) == [2, 2, 2]
answer = aws.invoke(FunctionName=NAME, Qualifier="live")
assert payload(answer) == ["one", "on-demand"], answer
assert answer["ResponseMetadata"]["HTTPHeaders"]["x-fn-start"] == "ahead", answer
assert numbers(until("both instances", lambda: ready("live"))) == [2, 2, 2]
refuse(CONFLICT, 409, aws.put_provisioned_concurrency_config, "pointed by a Provisioned Concurrency alias", Qualifier="1", ProvisionedConcurrentExecutions=1)
aws.create_alias(FunctionName=NAME, Name="beside", FunctionVersion="1")
refuse(CONFLICT, 409, aws.put_provisioned_concurrency_config, "already Provisioned version", Qualifier="beside", ProvisionedConcurrentExecutions=1)

# A second config, the list in pages, and a deploy that changes neither.
put("2", 1)
until("the instance of version 2", lambda: ready("2"))
aws.update_function_code(FunctionName=NAME, ZipFile=code("later"))
pages = aws.get_paginator("list_provisioned_concurrency_configs").paginate(FunctionName=NAME, PaginationConfig={"PageSize": 1})
listed = [one for page in pages for one in page["ProvisionedConcurrencyConfigs"]]
assert [(one["FunctionArn"], one["Status"], *numbers(one)) for one in listed] == [
    (ARN + ":2", "READY", 1, 1, 1), (ARN + ":live", "READY", 2, 2, 2),
], listed

# What is reserved bounds it, and the other way round.
refuse(INVALID, 400, aws.put_function_concurrency, "total provisioned concurrency [3]", ReservedConcurrentExecutions=2)
aws.put_function_concurrency(FunctionName=NAME, ReservedConcurrentExecutions=3)
refuse(INVALID, 400, aws.put_provisioned_concurrency_config, "reservedConcurrentExecution", Qualifier="2", ProvisionedConcurrentExecutions=2)
aws.delete_function_concurrency(FunctionName=NAME)

# An alias that has one moves only to where it can hold.
refuse(INVALID, 400, aws.update_alias, "unpublished function versions", Name="live", FunctionVersion="$LATEST")
refuse(INVALID, 400, aws.update_alias, "Alias with weights", Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 0.1}})
refuse(CONFLICT, 409, aws.update_alias, "already Provisioned version", Name="live", FunctionVersion="2")
for _ in range(2):
    assert aws.delete_provisioned_concurrency_config(FunctionName=NAME, Qualifier="2")["ResponseMetadata"]["HTTPStatusCode"] == 204
refuse(NONE, 404, aws.get_provisioned_concurrency_config, "No Provisioned", Qualifier="2")
aws.update_alias(FunctionName=NAME, Name="live", FunctionVersion="2")
assert numbers(until("both instances of version 2", lambda: ready("live"))) == [2, 2, 2]
answer = aws.invoke(FunctionName=NAME, Qualifier="live")
assert payload(answer)[0] == "two" and answer["ResponseMetadata"]["HTTPHeaders"]["x-fn-start"] == "ahead", answer

# One whose code can't be loaded says so.
aws.update_function_code(FunctionName=NAME, ZipFile=zipped(app_py="raise ValueError('it does not load')\n"), Publish=True)
put("3", 1)


def failed():
    seen = aws.get_provisioned_concurrency_config(FunctionName=NAME, Qualifier="3")
    assert numbers(seen)[2] == 0, seen
    return seen if seen["Status"] == "FAILED" else None


assert until("the failure", failed)["StatusReason"].startswith("FUNCTION_ERROR_INIT_FAILURE"), failed()
# A version that goes takes its config along.
aws.delete_function(FunctionName=NAME, Qualifier="3")
listed = aws.list_provisioned_concurrency_configs(FunctionName=NAME)["ProvisionedConcurrencyConfigs"]
assert [one["FunctionArn"] for one in listed] == [ARN + ":live"], listed
