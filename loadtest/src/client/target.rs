//! Where the server is: an `http://` address, read once.

use std::fmt;
use std::str::FromStr;

use http::{HeaderValue, Uri};

/// A server address such as `http://127.0.0.1:8080`, with an optional path in front of every route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    authority: String,
    host: HeaderValue,
    base: String,
}

/// Why an address can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// It is not a URI at all.
    #[error("not an address: {0}")]
    Uri(#[from] http::uri::InvalidUri),
    /// Only plain HTTP is spoken, and a host is needed.
    #[error("must look like http://HOST:PORT")]
    Shape,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(typed: &str) -> Result<Self, TargetError> {
        let uri: Uri = typed.parse()?;
        if uri.scheme_str() != Some("http") || uri.query().is_some() {
            return Err(TargetError::Shape);
        }
        let authority = uri.authority().ok_or(TargetError::Shape)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(TargetError::Shape);
        }
        Ok(Self {
            authority: format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)),
            host: HeaderValue::from_str(authority.as_str()).map_err(|_| TargetError::Shape)?,
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.base)
    }
}

impl Target {
    /// Host and port.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The `Host` header as the address was typed.
    pub(crate) fn host_header(&self) -> HeaderValue {
        self.host.clone()
    }

    /// The path that calls `function`, which must be a valid function name.
    pub(crate) fn function(&self, function: &str) -> Uri {
        self.path(&format!("/function/{function}"))
    }

    /// A path of the server, which must be one that needs no escaping.
    pub(crate) fn path(&self, path: &str) -> Uri {
        format!("{}{path}", self.base).parse().expect("the path is a safe one")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let target: Target = "http://127.0.0.1:8080".parse().unwrap();
        assert_eq!(target.authority(), "127.0.0.1:8080");
        assert_eq!(target.function("hello"), "/function/hello");
        assert_eq!(target.to_string(), "http://127.0.0.1:8080");
        assert_eq!("http://host".parse::<Target>().unwrap().authority(), "host:80");
        assert_eq!(
            "http://[::1]:9/x/".parse::<Target>().unwrap().function("f"),
            "/x/function/f"
        );
    }

    #[test]
    fn refuses_what_it_can_not_speak() {
        for bad in [
            "https://a",
            "127.0.0.1:8080",
            "a",
            "",
            "http://",
            "http://u@h",
            "http://h/?q",
        ] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
