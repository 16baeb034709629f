def look():
    return aws.get_provisioned_concurrency_config(FunctionName="kept", Qualifier="live")


until("both instances after the restart", lambda: look()["Status"] == "READY")
answer = aws.invoke(FunctionName="kept", Qualifier="live")
assert payload(answer)[0] == "two" and answer["ResponseMetadata"]["HTTPHeaders"]["x-fn-start"] == "ahead", answer
aws.delete_provisioned_concurrency_config(FunctionName="kept", Qualifier="live")
refused("ProvisionedConcurrencyConfigNotFoundException", 404, look)
