//! A setting that stands beside a function's code, of the function or of one of its qualifiers: read, changed and kept in one way.

use ::functions::published::Facet;
use ::functions::{FunctionName, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::fault::Fault;

/// Changes a setting: `make` gets what is there and says what is to be, `None` that there is to be none. Returns what it said.
///
/// For a caller on the blocking pool who holds the turn of changes: two who did not wait for each other could lose one change.
///
/// # Errors
/// Those of `make` and of the store; then nothing is changed.
pub(super) fn change<T: Serialize + DeserializeOwned>(
    store: &Store,
    name: &FunctionName,
    (facet, key): (Facet, &str),
    make: impl FnOnce(Option<T>) -> Result<Option<T>, Fault>,
) -> Result<Option<T>, Fault> {
    let to = make(store.facet(name, facet, key)?)?;
    let kept = to.as_ref().map(|to| json!(to));
    store.set_facet(name, facet, key, kept.as_ref())?;
    Ok(to)
}
