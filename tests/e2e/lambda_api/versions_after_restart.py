NAME = "versioned"
assert payload(aws.invoke(FunctionName=NAME, Qualifier="prod"))[0] == "two"
assert payload(aws.invoke(FunctionName=NAME, Qualifier="1"))[0] == "one"
assert payload(aws.invoke(FunctionName=NAME))[0] == "latest"
# The number of a version that was deleted is not used again.
assert aws.publish_version(FunctionName=NAME)["Version"] == "4"
aws.delete_alias(FunctionName=NAME, Name="prod")
aws.delete_alias(FunctionName=NAME, Name="prod")
refused("ResourceNotFoundException", 404, aws.invoke, FunctionName=NAME, Qualifier="prod")
aws.delete_function(FunctionName=NAME)
refused("ResourceNotFoundException", 404, aws.invoke, FunctionName=NAME, Qualifier="1")
