import stat, struct, zlib


def create(source, name="bad-code", **changes):
    arguments = dict(Runtime="python3.11", Role="arn:aws:iam::000000000000:role/any", Handler="app.handler")
    arguments.update(changes)
    return aws.create_function(FunctionName=name, Code=source, **arguments)


def bad(source, *words, **changes):
    response = refused("InvalidParameterValueException", 400, create, source=source, **changes)
    for word in words:
        assert word in response["Error"]["Message"], response
    refused("ResourceNotFoundException", 404, aws.get_function, FunctionName="bad-code")


def archive(fill):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        fill(file)
    return {"ZipFile": data.getvalue()}


def link(file, target):
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    file.writestr(entry, target)


good = {"ZipFile": zipped(app_py="def handler(event, context):\n    return 1\n")}
bad({"ZipFile": b"this is no zip"}, "Could not unzip")
bad({"ZipFile": b"PK\x05\x06"}, "Could not unzip")
bad({"S3Bucket": "bucket", "S3Key": "k"}, "S3Bucket")
bad({"ImageUri": "i"}, "Zip", PackageType="Image")
bad(archive(lambda file: file.writestr("../../outside.py", "x")), "..")
bad(archive(lambda file: file.writestr("/absolute.py", "x")))
bad(archive(lambda file: link(file, "/etc/passwd")))
bad(archive(lambda file: link(file, "../../etc/passwd")))

import warnings

warnings.simplefilter("ignore")
bad(archive(lambda file: [file.writestr("twice.py", "1"), file.writestr("twice.py", "2")]))
bad(archive(lambda file: [file.writestr("a", "1"), file.writestr("a/b", "2")]))
# A bomb: 600 MiB in half a megabyte.
def bomb(file):
    with file.open("zeros", "w", force_zip64=True) as out:
        for _ in range(600):
            out.write(bytes(1 << 20))


bad(archive(bomb))

bad(good, "java21", Runtime="java21")
bad(good, "provided.*", Runtime="java21")
bad(good, "form", Handler="nothing")
bad(good, "does not exist", Layers=["arn:aws:lambda:us-east-1:123456789012:layer:l:1"])
bad(good, "architecture", Architectures=["arm64" if os.uname().machine == "x86_64" else "x86_64"])
bad(good, "belongs to the platform", Environment={"Variables": {"AWS_LAMBDA_FUNCTION_NAME": "x"}})
refused("InvalidParameterValueException", 400, create, source=good, name="Upper_Case")
create(good)
assert payload(aws.invoke(FunctionName="bad-code")) == 1
