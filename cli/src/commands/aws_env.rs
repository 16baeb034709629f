//! `fn aws-env`: what boto3, the AWS command line and the SDKs need to talk to this server's Lambda API.

use serde_json::Value;

use crate::client::AdminClient;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::Screen;

/// The variables, and where the server's answer has the value of each.
const VARIABLES: [(&str, &str); 5] = [
    ("AWS_ACCESS_KEY_ID", "access_key_id"),
    ("AWS_SECRET_ACCESS_KEY", "secret_access_key"),
    ("AWS_REGION", "region"),
    ("AWS_DEFAULT_REGION", "region"),
    ("AWS_ENDPOINT_URL_LAMBDA", "endpoint_url"),
];

/// Prints them as a shell reads them, or the server's answer as JSON.
pub(crate) async fn run(client: &AdminClient, screen: Screen) -> Result<Exit, Failure> {
    let reply = client.aws().await?;
    screen.answer(&reply, || text(&reply))?;
    Ok(Exit::Ok)
}

fn text(reply: &Value) -> String {
    VARIABLES
        .iter()
        .map(|(name, key)| {
            let value = reply[key].as_str().unwrap_or_default();
            format!("export {name}='{}'\n", value.replace('\'', "'\\''"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_shell_can_read_it_whatever_is_in_it() {
        let text = text(&json!({
            "access_key_id": "A", "secret_access_key": "it's $(x)", "region": "us-east-1", "endpoint_url": "http://127.0.0.1:8080",
        }));
        assert!(
            text.starts_with("export AWS_ACCESS_KEY_ID='A'\nexport AWS_SECRET_ACCESS_KEY='it'\\''s $(x)'\n"),
            "{text}"
        );
        assert!(
            text.ends_with("export AWS_ENDPOINT_URL_LAMBDA='http://127.0.0.1:8080'\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), VARIABLES.len());
    }
}
