NAME = "layered"
role = "arn:aws:iam::000000000000:role/any"

# Versions of a layer.
first = aws.publish_layer_version(
    LayerName="words", Description="one", LicenseInfo="MIT", CompatibleRuntimes=["python3.12"],
    Content={"ZipFile": zipped(**{"python/word_py": "WORD = 'one'\n"})},
)
assert first["ResponseMetadata"]["HTTPStatusCode"] == 201, first
assert first["Version"] == 1 and first["LayerArn"].endswith(":layer:words"), first
assert first["LayerVersionArn"] == first["LayerArn"] + ":1" and first["Content"]["CodeSize"] > 0, first
second = aws.publish_layer_version(LayerName=first["LayerArn"], Content={"ZipFile": zipped(**{"python/word_py": "WORD = 'two'\n"})})
assert second["Version"] == 2, second
other = aws.publish_layer_version(LayerName="more", Content={"ZipFile": zipped(**{"python/more_py": "WORD = 'more'\n"})})
listed = aws.list_layers()["Layers"]
assert [(one["LayerName"], one["LatestMatchingVersion"]["Version"]) for one in listed] == [("more", 1), ("words", 2)], listed
assert [one["LayerName"] for one in aws.list_layers(CompatibleRuntime="python3.12")["Layers"]] == ["words"]
pages = aws.get_paginator("list_layer_versions").paginate(LayerName="words", PaginationConfig={"PageSize": 1})
assert [one["Version"] for page in pages for one in page["LayerVersions"]] == [2, 1]
got = aws.get_layer_version(LayerName="words", VersionNumber=1)
assert got["Description"] == "one" and got["LicenseInfo"] == "MIT" and got["CompatibleRuntimes"] == ["python3.12"], got
by_arn = aws.get_layer_version_by_arn(Arn=first["LayerVersionArn"])
assert by_arn["Content"]["CodeSha256"] == first["Content"]["CodeSha256"], by_arn
refused("ResourceNotFoundException", 404, aws.get_layer_version, LayerName="words", VersionNumber=9)
refused("InvalidParameterValueException", 400, aws.publish_layer_version, LayerName="words", Content={"ZipFile": b"no zip"})

# A function with them.
code = "import word\n\ndef handler(event, context):\n    try:\n        import more\n        return [word.WORD, more.WORD]\n    except ImportError:\n        return [word.WORD]\n"
made = aws.create_function(
    FunctionName=NAME, Runtime="python3.12", Role=role, Handler="app.handler", Timeout=30,
    Code={"ZipFile": zipped(app_py=code)}, Layers=[first["LayerVersionArn"], other["LayerVersionArn"]],
)
assert [one["Arn"] for one in made["Layers"]] == [first["LayerVersionArn"], other["LayerVersionArn"]], made
assert made["Layers"][0]["CodeSize"] == first["Content"]["CodeSize"], made
assert payload(aws.invoke(FunctionName=NAME)) == ["one", "more"]
# New code keeps the layers, and other layers the code.
kept = aws.update_function_code(FunctionName=NAME, ZipFile=zipped(app_py=code.replace("[word.WORD, more.WORD]", "[more.WORD]")))
assert len(kept["Layers"]) == 2, kept
assert payload(aws.invoke(FunctionName=NAME)) == ["more"]
changed = aws.update_function_configuration(FunctionName=NAME, Layers=[second["LayerVersionArn"]])
assert [one["Arn"] for one in changed["Layers"]] == [second["LayerVersionArn"]], changed
assert changed["CodeSha256"] == kept["CodeSha256"], changed
assert payload(aws.invoke(FunctionName=NAME)) == ["two"]
# A layer that goes stays with those who use it.
aws.delete_layer_version(LayerName="words", VersionNumber=2)
aws.delete_layer_version(LayerName="words", VersionNumber=2)
assert payload(aws.invoke(FunctionName=NAME)) == ["two"]
missing = refused("InvalidParameterValueException", 400, aws.update_function_configuration, FunctionName=NAME, Layers=[second["LayerVersionArn"]])
assert "does not exist" in missing["Error"]["Message"], missing
twice = [first["LayerVersionArn"], first["LayerVersionArn"]]
refused("InvalidParameterValueException", 400, aws.update_function_configuration, FunctionName=NAME, Layers=twice)
refused("InvalidParameterValueException", 400, aws.update_function_configuration, FunctionName=NAME, Layers=["arn:x"])
without = aws.update_function_configuration(FunctionName=NAME, Layers=[])
assert "Layers" not in without, without
assert "needs the module 'word'" in payload(aws.invoke(FunctionName=NAME))["errorMessage"]
assert aws.publish_layer_version(LayerName="words", Content={"ZipFile": zipped(a_txt="x")})["Version"] == 3
