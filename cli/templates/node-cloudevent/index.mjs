import { cloudEvent } from "@google-cloud/functions-framework";

// Called once for each CloudEvent, by the Functions Framework. What it prints is in `fn logs`.
cloudEvent("receive", (event) => {
  console.log("received", event.type, "from", event.source, JSON.stringify(event.data));
});
