//! A function of the Fn Project: a server on a unix socket, and what it finds in its environment.

use crate::Revision;

/// Where such a function makes its socket, or a link to it. Its FDK makes both, so the directory has to be one that it can write to.
pub const FDK_SOCKET: &str = "/tmp/lsnr.sock";

/// The app that all functions belong to: there are no others here.
const APP: &str = "fn";

/// What it finds besides what every server does.
pub(super) fn env(revision: &Revision) -> Vec<(String, String)> {
    let settings = &revision.settings;
    let name = revision.name.to_string();
    let mib = |size: crate::ByteSize| (size.as_u64() >> 20).to_string();
    [
        ("FN_FORMAT", "http-stream".to_owned()),
        ("FN_LISTENER", format!("unix:{FDK_SOCKET}")),
        ("FN_FN_ID", name.clone()),
        ("FN_FN_NAME", name.clone()),
        ("FN_NAME", name),
        ("FN_APP_ID", APP.to_owned()),
        ("FN_APP_NAME", APP.to_owned()),
        ("FN_MEMORY", mib(settings.memory)),
        ("FN_TMPSIZE", mib(settings.tmp)),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}
