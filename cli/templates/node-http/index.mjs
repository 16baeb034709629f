// Called once for each request, as node:http would: an Express app or a Fastify instance may be exported as well.
export default function (req, res) {
  const { pathname, searchParams } = new URL(req.url, "http://localhost");
  const name = searchParams.get("name") ?? "world";
  console.log("saying hello to", name);
  res.setHeader("content-type", "application/json");
  res.end(JSON.stringify({ message: `Hello, ${name}!`, path: pathname }));
}
