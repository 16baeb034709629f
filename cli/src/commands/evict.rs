//! `fn evict`: the next call starts a new instance.

use serde_json::json;

use super::name;
use crate::args::EvictArgs;
use crate::client::{AdminClient, EvictScope};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::Screen;

/// Ends the function's instances; returns when they are gone.
pub(crate) async fn run(args: &EvictArgs, client: &AdminClient, screen: Screen) -> Result<Exit, Failure> {
    let name = name::typed(&args.name)?;
    let scope = if args.all { EvictScope::All } else { EvictScope::Used };
    let reply = client.evict(name.as_str(), scope).await?;
    let evicted = reply["evicted"].as_u64().unwrap_or_default();
    screen.answer(&json!({ "name": name, "evicted": evicted }), || match evicted {
        1 => format!("1 instance of {name} is gone\n"),
        n => format!("{n} instances of {name} are gone\n"),
    })?;
    Ok(Exit::Ok)
}
