assert aws.get_account_settings()["AccountUsage"]["FunctionCount"] == 0


def client(**keys):
    return boto3.client("lambda", **keys)


key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
wrong = client(aws_access_key_id=key, aws_secret_access_key="0" * 40)
refused("InvalidSignatureException", 403, wrong.get_account_settings)
unknown = client(aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key=secret)
refused("UnrecognizedClientException", 403, unknown.get_account_settings)
elsewhere = client(region_name="eu-west-1")
assert elsewhere.get_account_settings()["AccountUsage"]["FunctionCount"] == 0

from botocore import UNSIGNED
from botocore.config import Config

unsigned = client(config=Config(signature_version=UNSIGNED))
refused("MissingAuthenticationTokenException", 403, unsigned.get_account_settings)

# What this server does not have it says so.
refused("UnknownOperationException", 404, aws.list_event_source_mappings)
