NAME = "versioned"


def code(what):
    return zipped(app_py=f"def handler(event, context):\n    return [{what!r}, context.invoked_function_arn.rpartition(':')[2]]\n")


made = aws.create_function(
    FunctionName=NAME, Runtime="python3.11", Role="arn:aws:iam::000000000000:role/any", Handler="app.handler",
    Timeout=30, Code={"ZipFile": code("one")}, Publish=True,
)
assert made["Version"] == "1" and made["FunctionArn"].endswith(f":{NAME}:1"), made
aws.get_waiter("published_version_active").wait(FunctionName=NAME, Qualifier="1")
# Nothing changed, so there is nothing to publish.
again = aws.publish_version(FunctionName=NAME, Description="never seen")
assert again["Version"] == "1", again
aws.update_function_code(FunctionName=NAME, ZipFile=code("two"))
second = aws.publish_version(FunctionName=NAME, Description="the second")
assert (second["Version"], second["Description"]) == ("2", "the second"), second
assert second["CodeSha256"] != made["CodeSha256"], second
third = aws.update_function_code(FunctionName=NAME, ZipFile=code("three"), Publish=True)
assert third["Version"] == "3", third
aws.update_function_code(FunctionName=NAME, ZipFile=code("latest"))
refused("InvalidParameterValueException", 400, aws.publish_version, FunctionName=NAME, CodeSha256="other")
refused("PreconditionFailedException", 412, aws.publish_version, FunctionName=NAME, RevisionId=made["RevisionId"])


def called(name=NAME, **arguments):
    answer = aws.invoke(FunctionName=name, **arguments)
    assert "FunctionError" not in answer, payload(answer)
    return answer["ExecutedVersion"], payload(answer)


assert called() == ("$LATEST", ["latest", NAME])
assert called(Qualifier="1") == ("1", ["one", "1"])
assert called(f"{NAME}:2") == ("2", ["two", "2"])
pages = aws.get_paginator("list_versions_by_function").paginate(FunctionName=NAME, PaginationConfig={"PageSize": 2})
assert [version["Version"] for page in pages for version in page["Versions"]] == ["$LATEST", "1", "2", "3"]
assert aws.get_function(FunctionName=NAME, Qualifier="1")["Configuration"]["CodeSha256"] == made["CodeSha256"]
refused("InvalidParameterValueException", 400, aws.update_function_code, FunctionName=f"{NAME}:1", ZipFile=code("x"))

# An alias is a name that moves.
prod = aws.create_alias(FunctionName=NAME, Name="prod", FunctionVersion="1", Description="what people get")
assert prod["AliasArn"] == f"arn:aws:lambda:us-east-1:000000000000:function:{NAME}:prod", prod
assert called(Qualifier="prod") == ("1", ["one", "prod"])
assert called(prod["AliasArn"])[0] == "1"
refused("ResourceConflictException", 409, aws.create_alias, FunctionName=NAME, Name="prod", FunctionVersion="1")
refused("ResourceNotFoundException", 404, aws.create_alias, FunctionName=NAME, Name="other", FunctionVersion="9")
refused("InvalidParameterValueException", 400, aws.create_alias, FunctionName=NAME, Name="123", FunctionVersion="1")
moved = aws.update_alias(FunctionName=NAME, Name="prod", FunctionVersion="2")
assert moved["Description"] == "what people get" and moved["RevisionId"] != prod["RevisionId"], moved
assert called(Qualifier="prod")[0] == "2"
refused("PreconditionFailedException", 412, aws.update_alias, FunctionName=NAME, Name="prod", RevisionId=prod["RevisionId"])
aws.create_alias(FunctionName=NAME, Name="newest", FunctionVersion="$LATEST")
assert called(Qualifier="newest") == ("$LATEST", ["latest", "newest"])

# A part of its calls may go to a second version.
def weigh(weight, version="3"):
    return aws.update_alias(FunctionName=NAME, Name="prod", RoutingConfig={"AdditionalVersionWeights": {version: weight}})


assert weigh(1.0)["RoutingConfig"] == {"AdditionalVersionWeights": {"3": 1.0}}
assert {called(Qualifier="prod")[0] for _ in range(5)} == {"3"}
weigh(0.5)
seen = set()
until("both versions", lambda: seen.add(called(Qualifier="prod")[0]) or seen == {"2", "3"})
weigh(0.0)
assert {called(Qualifier="prod")[0] for _ in range(5)} == {"2"}
weigh(0.5)
aws.update_alias(FunctionName=NAME, Name="prod", RoutingConfig={})
assert "RoutingConfig" not in aws.get_alias(FunctionName=NAME, Name="prod")
refused("InvalidParameterValueException", 400, weigh, weight=0.5, version="2")
refused("ResourceNotFoundException", 404, weigh, weight=0.5, version="8")
refused("InvalidParameterValueException", 400, weigh, weight=1.5)
assert [alias["Name"] for alias in aws.list_aliases(FunctionName=NAME)["Aliases"]] == ["newest", "prod"]
assert [alias["Name"] for alias in aws.list_aliases(FunctionName=NAME, FunctionVersion="2")["Aliases"]] == ["prod"]

# A version that is called stays warm, although another revision is live.
starts = [aws.invoke(FunctionName=NAME, Qualifier="1")["ResponseMetadata"]["HTTPHeaders"]["x-fn-start"] for _ in range(3)]
assert starts[1:] == ["warm", "warm"], starts

refused("ResourceConflictException", 409, aws.delete_function, FunctionName=NAME, Qualifier="2")
aws.delete_function(FunctionName=NAME, Qualifier="3")
refused("ResourceNotFoundException", 404, aws.invoke, FunctionName=NAME, Qualifier="3")
refused("ResourceNotFoundException", 404, aws.delete_function, FunctionName=NAME, Qualifier="3")
refused("ResourceNotFoundException", 404, aws.get_alias, FunctionName=NAME, Name="nobody")
