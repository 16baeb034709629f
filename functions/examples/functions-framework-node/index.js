const functions = require('@google-cloud/functions-framework');

functions.cloudEvent('hello', (event) => {
  console.log(`${event.type} from ${event.source}:`, event.data);
});
