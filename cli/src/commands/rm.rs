//! `fn rm`: a function and all its revisions go.

use serde_json::json;

use super::name;
use crate::args::NameArgs;
use crate::client::AdminClient;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::Screen;

/// Removes the function.
pub(crate) async fn run(args: &NameArgs, client: &AdminClient, screen: Screen) -> Result<Exit, Failure> {
    let name = name::typed(&args.name)?;
    client.remove(name.as_str()).await?;
    screen.answer(&json!({ "name": name, "removed": true }), || {
        format!("{name} is removed\n")
    })?;
    Ok(Exit::Ok)
}
