// Called once for each request. The event is an HTTP request, see rawPath, headers and body in it.
export async function handler(event, context) {
  const name = event.queryStringParameters?.name ?? "world";
  console.log("saying hello to", name);
  return {
    statusCode: 200,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ message: `Hello, ${name}!`, request: context.awsRequestId }),
  };
}
