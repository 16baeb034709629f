"""A function of the Fn Project, as its FDK for Python wants it."""

from fdk import response


def handler(ctx, data=None):
    name = data.getvalue().decode() or "world"
    return response.Response(
        ctx,
        response_data=f"Hello, {name}! This is call {ctx.CallID()}.\n",
        headers={"Content-Type": "text/plain; charset=utf-8"},
    )
