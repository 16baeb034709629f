NAME = "made-by-boto"
CODE = "import os\n\ndef handler(event, context):\n    return [WHAT, os.environ.get('LEVEL'), context.memory_limit_in_mb]\n"


def code(what):
    return zipped(app_py=CODE.replace("WHAT", repr(what)))


common = dict(Role="arn:aws:iam::000000000000:role/any", Handler="app.handler", Runtime="python3.12")
made = aws.create_function(
    FunctionName=NAME,
    Code={"ZipFile": code("one")},
    Description="the first",
    MemorySize=256,
    Timeout=10,
    Environment={"Variables": {"LEVEL": "info"}},
    EphemeralStorage={"Size": 512},
    Tags={"team": "a", "empty": ""},
    **common,
)
assert made["ResponseMetadata"]["HTTPStatusCode"] == 201, made
aws.get_waiter("function_active_v2").wait(FunctionName=NAME)
aws.get_waiter("function_exists").wait(FunctionName=NAME)
assert payload(aws.invoke(FunctionName=NAME)) == ["one", "info", "256"]
refused("ResourceConflictException", 409, aws.create_function, FunctionName=NAME, Code={"ZipFile": code("x")}, **common)

import hashlib

whole = aws.get_function(FunctionName=NAME)
seen = whole["Configuration"]
wanted = {
    "FunctionName": NAME,
    "FunctionArn": f"arn:aws:lambda:us-east-1:000000000000:function:{NAME}",
    "Runtime": "python3.12",
    "Role": "arn:aws:iam::000000000000:role/any",
    "Handler": "app.handler",
    "Description": "the first",
    "MemorySize": 256,
    "Timeout": 10,
    "Environment": {"Variables": {"LEVEL": "info"}},
    "EphemeralStorage": {"Size": 512},
    "Version": "$LATEST",
    "State": "Active",
    "LastUpdateStatus": "Successful",
    "PackageType": "Zip",
    "CodeSize": len(code("one")),
}
for key, value in wanted.items():
    assert seen[key] == value, (key, seen)
assert len(base64.b64decode(seen["CodeSha256"])) == 32, seen
assert whole["Tags"] == {"team": "a", "empty": ""}, whole
configuration = aws.get_function_configuration(FunctionName=seen["FunctionArn"])
configuration.pop("ResponseMetadata")
assert configuration == seen, configuration

# New code, and what it was made of is told.
archive = code("two")
before = seen["RevisionId"]
dry = aws.update_function_code(FunctionName=NAME, ZipFile=archive, DryRun=True)
assert payload(aws.invoke(FunctionName=NAME))[0] == "one"
updated = aws.update_function_code(FunctionName=NAME, ZipFile=archive)
aws.get_waiter("function_updated_v2").wait(FunctionName=NAME)
assert updated["CodeSha256"] == dry["CodeSha256"] == base64.b64encode(hashlib.sha256(archive).digest()).decode(), updated
assert updated["Description"] == "the first" and updated["RevisionId"] != before, updated
assert payload(aws.invoke(FunctionName=NAME)) == ["two", "info", "256"]
refused("PreconditionFailedException", 412, aws.update_function_code, FunctionName=NAME, ZipFile=archive, RevisionId=before)

# New settings; what is not named stays.
changed = aws.update_function_configuration(FunctionName=NAME, MemorySize=320, Environment={"Variables": {"LEVEL": "debug"}})
assert (changed["MemorySize"], changed["Timeout"], changed["CodeSha256"]) == (320, 10, updated["CodeSha256"]), changed
aws.get_waiter("function_updated_v2").wait(FunctionName=NAME)
assert payload(aws.invoke(FunctionName=NAME)) == ["two", "debug", "320"]
aws.update_function_configuration(FunctionName=NAME, Handler="app.nothing")
answer = aws.invoke(FunctionName=NAME)
assert answer["FunctionError"] == "Unhandled" and payload(answer)["errorType"] == "Runtime.HandlerNotFound", answer
aws.update_function_configuration(FunctionName=NAME, Handler="app.handler")
assert payload(aws.invoke(FunctionName=NAME))[0] == "two"

# Tags.
arn = seen["FunctionArn"]
aws.tag_resource(Resource=arn, Tags={"team": "b", "a b": "c=d"})
assert aws.list_tags(Resource=arn)["Tags"] == {"team": "b", "empty": "", "a b": "c=d"}
aws.untag_resource(Resource=arn, TagKeys=["empty", "a b"])
assert aws.list_tags(Resource=arn)["Tags"] == {"team": "b"}
refused("InvalidParameterValueException", 400, aws.tag_resource, Resource=arn, Tags={"aws:x": "y"})
refused("ResourceNotFoundException", 404, aws.list_tags, Resource=arn + "-not")

# What was deployed by the command is there as well, in a list of pages.
for number in range(3):
    aws.create_function(FunctionName=f"paged-{number}", Code={"ZipFile": code(number)}, **common)
pages = list(aws.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
names = [function["FunctionName"] for page in pages for function in page["Functions"]]
assert names == ["deployed-by-hand", NAME, "paged-0", "paged-1", "paged-2"] and len(pages) == 3, names
by_hand = aws.get_function(FunctionName="deployed-by-hand")["Configuration"]
assert by_hand["Runtime"].startswith("python3.") and by_hand["Handler"] == "handler.handler", by_hand
assert payload(aws.invoke(FunctionName="deployed-by-hand")) == "hand"

node = zipped(index_mjs="export const handler = async (event) => ({ got: event });\n")
aws.create_function(FunctionName="node-boto", Code={"ZipFile": node}, Role="r" * 20, Handler="index.handler", Runtime="nodejs20.x")
assert payload(aws.invoke(FunctionName="node-boto", Payload=b"[1]")) == {"got": [1]}

# Gone is gone.
assert aws.delete_function(FunctionName=NAME)["ResponseMetadata"]["HTTPStatusCode"] == 204
refused("ResourceNotFoundException", 404, aws.invoke, FunctionName=NAME)
refused("ResourceNotFoundException", 404, aws.get_function, FunctionName=NAME)
refused("ResourceNotFoundException", 404, aws.update_function_code, FunctionName=NAME, ZipFile=archive)
refused("ResourceNotFoundException", 404, aws.delete_function, FunctionName=NAME)
