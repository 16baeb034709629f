//! Which function a request is for: by its Host (`NAME.localhost`, `ALIAS.NAME.localhost`) or by its path (`/function/NAME[/path]`, `/async-function/NAME[/path]`).
//!
//! Pure. The Host is checked here too, for every request on TCP: a page in a browser can make its own name resolve to this
//! machine, but it can't make the browser send a Host that is not that name. Nothing is percent-decoded: a name that needs decoding is no name, and
//! the rest of the path belongs to the function.

use functions::FunctionName;
use http::request::Parts;
use http::{Method, header};

use crate::outcome::{Code, Outcome};

/// The prefix of function paths.
const PREFIX: &str = "/function/";
/// The prefix of calls that nobody waits for.
const BACKGROUND_PREFIX: &str = "/async-function/";

/// The Hosts that this server answers to besides `localhost`, `127.0.0.1`, `[::1]` and `*.localhost`.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// The names given with `--host`, compared without case and without a port.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    fn accepts(&self, host: &str) -> bool {
        matches!(host, "localhost" | "127.0.0.1" | "[::1]") || self.0.iter().any(|own| own == host)
    }
}

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// A function, and the path it sees: the raw path behind the name, at least `/`.
    Function {
        /// The function.
        name: FunctionName,
        /// The alias, when one was named. Whether there is such a one is not known here.
        alias: Option<String>,
        /// Where its own path starts in the request's raw path. When that is the path's end, the function sees `/`.
        path_from: usize,
    },
    /// The same for a call that is to run in the background.
    Background {
        /// The function.
        name: FunctionName,
        /// Where its own path starts.
        path_from: usize,
    },
    /// A route of the gateway itself.
    Platform,
}

/// Finds what a request on TCP is for. Errors: `bad_request` for a Host that is missing, repeated, malformed or at odds with an absolute
/// target; `misdirected_request` for a Host that is not ours; `invalid_function_name`.
pub fn resolve(head: &Parts, hosts: &Hosts) -> Result<Target, Outcome> {
    let host = host(head)?;
    if head.method == Method::CONNECT {
        return Err(bad("CONNECT is not served"));
    }
    if let Some(labels) = host.strip_suffix(".localhost") {
        // No name has a point in it.
        let (alias, name) = match labels.rsplit_once('.') {
            Some((alias, name)) => (Some(parse_alias(alias)?), name),
            None => (None, labels),
        };
        return Ok(Target::Function {
            name: parse_name(name)?,
            alias,
            path_from: 0,
        });
    }
    if !hosts.accepts(&host) {
        let text = "this server does not answer to this Host; start it with --host NAME to let it";
        return Err(Outcome::new(Code::MisdirectedRequest, text));
    }
    let path = head.uri.path();
    if let Some((name, path_from)) = by_path(path, PREFIX)? {
        return Ok(Target::Function {
            name,
            alias: None,
            path_from,
        });
    }
    Ok(match by_path(path, BACKGROUND_PREFIX)? {
        Some((name, path_from)) => Target::Background { name, path_from },
        None => Target::Platform,
    })
}

/// The function of a path that starts with `prefix`, which ends with a slash, and where its own path begins.
fn by_path(path: &str, prefix: &str) -> Result<Option<(FunctionName, usize)>, Outcome> {
    let Some(rest) = path.strip_prefix(prefix) else {
        return Ok(None);
    };
    let end = rest.find('/').unwrap_or(rest.len());
    Ok(Some((parse_name(&rest[..end])?, prefix.len() + end)))
}

/// Reads a function's name from a path segment or a label of a Host.
pub fn parse_name(text: &str) -> Result<FunctionName, Outcome> {
    text.parse().map_err(|_| {
        let text = "a function's name has 1 to 63 characters out of a-z, 0-9 and -, and neither starts nor ends with -";
        Outcome::new(Code::InvalidFunctionName, text)
    })
}

/// Whether an alias can stand in a Host: 1 to 63 of a-z, 0-9, `-` and `_`, and neither first nor last a `-`.
pub(crate) fn is_host_label(alias: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&alias.len()) && alias.bytes().all(plain) && !alias.starts_with('-') && !alias.ends_with('-')
}

fn parse_alias(text: &str) -> Result<String, Outcome> {
    if is_host_label(text) {
        return Ok(text.to_owned());
    }
    let text =
        "what stands before the function's name in the Host is no alias: 1 to 63 characters out of a-z, 0-9, - and _";
    Err(Outcome::new(Code::InvalidFunctionName, text))
}

/// The Host of a request, in lower case and without its port.
fn host(head: &Parts) -> Result<String, Outcome> {
    let mut lines = head.headers.get_all(header::HOST).iter();
    let Some(line) = lines.next() else {
        return Err(bad("the Host header is missing"));
    };
    if lines.next().is_some() {
        return Err(bad("there is more than one Host header"));
    }
    let text = line.to_str().map_err(|_| bad("the Host header is malformed"))?;
    let (host, port) = split(text).ok_or_else(|| bad("the Host header is malformed"))?;
    if let Some(authority) = head.uri.authority() {
        // RFC 9112 section 3.2.2 lets the target win over Host. A client that disagrees with itself is refused instead.
        let agreed = split(authority.as_str()).is_some_and(|(other, other_port)| {
            other.eq_ignore_ascii_case(host) && other_port.unwrap_or("80") == port.unwrap_or("80")
        });
        if !agreed {
            return Err(bad("the request target and the Host header name different hosts"));
        }
    }
    Ok(host.to_ascii_lowercase())
}

/// Splits `host[:port]` (RFC 9110 section 7.2); `None` when it is malformed. User information is malformed here.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let end = rest.find(']')? + 2;
        let (host, port) = text.split_at(end);
        rest[..end - 2].parse::<std::net::Ipv6Addr>().ok()?;
        (
            host,
            if port.is_empty() {
                None
            } else {
                Some(port.strip_prefix(':')?)
            },
        )
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !host.starts_with('[') && (host.is_empty() || !host.bytes().all(plain)) {
        return None;
    }
    // `host:` without digits is allowed by the grammar and means the default port.
    match port {
        Some("") => Some((host, None)),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok() => {
            Some((host, Some(port)))
        }
        Some(_) => None,
        None => Some((host, None)),
    }
}

fn bad(text: &'static str) -> Outcome {
    Outcome::new(Code::BadRequest, text).close()
}

#[cfg(test)]
mod tests;
