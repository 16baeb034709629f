"""Makes an image smaller: POST it, with ?width= and ?height= as the box it has to fit into."""

import base64
import io

from PIL import Image

LARGEST = 4096


def handler(event, context):
    if not event.get("isBase64Encoded") or not event.get("body"):
        return {"statusCode": 400, "body": '{"error": "POST an image, such as: curl --data-binary @photo.jpg"}'}
    query = event.get("queryStringParameters") or {}
    try:
        box = [side(query, "width"), side(query, "height")]
        image = Image.open(io.BytesIO(base64.b64decode(event["body"])))
        kind = image.format
        image.thumbnail(box)
        smaller = io.BytesIO()
        image.save(smaller, kind)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        print("refused:", error)
        return {"statusCode": 400, "body": '{"error": "this is no image, or width or height is no number"}'}
    print(f"resized to {image.width}x{image.height}")
    return {
        "statusCode": 200,
        "headers": {"content-type": Image.MIME[kind], "x-size": f"{image.width}x{image.height}"},
        "body": base64.b64encode(smaller.getvalue()).decode(),
        "isBase64Encoded": True,
    }


def side(query, name):
    value = int(query.get(name, 256))
    if not 1 <= value <= LARGEST:
        raise ValueError(f"{name} is not from 1 to {LARGEST}")
    return value
