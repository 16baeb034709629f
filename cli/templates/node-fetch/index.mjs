// Called once for each request, a Request of the Fetch standard: a Hono app may be exported as well.
export default {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    const name = searchParams.get("name") ?? "world";
    console.log("saying hello to", name);
    return Response.json({ message: `Hello, ${name}!`, path: pathname });
  },
};
