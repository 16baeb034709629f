use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handler)).await
}

async fn handler(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (event, context) = event.into_parts();
    if event["rawPath"] == "/fail" {
        return Err("the inner secret".into());
    }
    Ok(json!({
        "id": context.request_id,
        "arn": context.invoked_function_arn,
        "deadline": context.deadline,
        "trace": context.xray_trace_id,
        "custom": context.client_context.map(|client| client.custom),
        "name": context.env_config.function_name,
        "memory": context.env_config.memory,
        "event": event,
    }))
}
