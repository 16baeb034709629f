export const handler = async (event) => {
  const name = event.queryStringParameters?.name ?? 'world';
  return { message: `${process.env.GREETING}, ${name}!` };
};
