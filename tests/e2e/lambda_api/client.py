import base64, io, json, os, time, zipfile

import boto3
from botocore.exceptions import ClientError

aws = boto3.client("lambda")


def refused(code, status, call, **arguments):
    """The error of a call that must be refused with this code and status."""
    try:
        answer = call(**arguments)
    except ClientError as error:
        response = error.response
        seen = (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"])
        assert seen == (code, status), response
        assert response["Error"]["Message"], response
        assert response["ResponseMetadata"]["RequestId"], response
        return response
    raise AssertionError(f"expected {code}, got {answer}")


def payload(answer):
    return json.loads(answer["Payload"].read())


def until(what, look, patience=60):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        seen = look()
        if seen:
            return seen
        time.sleep(0.05)
    raise AssertionError(f"not seen: {what}")


def zipped(**files):
    """A zip of these files; `_py` and the like at the end of a name stand for the ending."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            stem, _, ending = name.rpartition("_")
            archive.writestr(f"{stem}.{ending}", text)
    return data.getvalue()
