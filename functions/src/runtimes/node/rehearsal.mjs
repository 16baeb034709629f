// Stands for a function while a parked process rehearses. It does what most handlers do and touches nothing outside.

export const handler = async (event) => {
  const { name = 'nobody' } = event.queryStringParameters ?? {};
  return { statusCode: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name }) };
};
