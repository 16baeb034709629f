//! Which pages of other origins a browser lets call a function: the rules, checked. The gateway answers by them.
//!
//! Names and bounds are those of the object `Cors` of Lambda's function URLs.

use serde::{Deserialize, Serialize};

use crate::{Span, one_line};

/// Most origins, and most headers of either list.
const MOST: usize = 100;
/// Longest origin.
const LONGEST_ORIGIN: usize = 253;
/// Longest name of a header.
const LONGEST_HEADER: usize = 1024;
/// Longest that a browser may remember an answer.
const LONGEST_AGE: Span = Span::hours(24);
/// What may stand in `allow_methods`. `OPTIONS` is not for functions to allow: it is what browsers ask with.
const METHODS: [&str; 7] = ["*", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// Stands for everything in a list.
pub const ANY: &str = "*";

/// The rules of one function. Without an origin there are none, and the function answers browsers by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cors {
    /// Origins such as `https://example.org`, or `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_origins: Vec<String>,
    /// Methods beside those that need no leave, or `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_methods: Vec<String>,
    /// Headers of requests beside those that need no leave, or `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_headers: Vec<String>,
    /// Headers of replies that the page may read beside those that it always may, or `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expose_headers: Vec<String>,
    /// Whether the browser may send cookies and read what came of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_credentials: bool,
    /// How long the browser may remember the answer, in whole seconds, at most a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
}

/// Why rules can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorsError {
    /// A list has too many entries.
    #[error("{list} has {count} entries, at most {MOST} are allowed")]
    TooMany {
        /// The list.
        list: &'static str,
        /// How many it has.
        count: usize,
    },
    /// An origin that no browser sends.
    #[error("{origin:?} in allow_origins is neither * nor an origin such as https://example.org, without a path")]
    Origin {
        /// The entry.
        origin: String,
    },
    /// A method that can't be allowed.
    #[error("{method:?} in allow_methods is none of {}", METHODS.join(", "))]
    Method {
        /// The entry.
        method: String,
    },
    /// What is no name of a header.
    #[error("{header:?} in {list} is neither * nor the name of a header")]
    Header {
        /// The list.
        list: &'static str,
        /// The entry.
        header: String,
    },
    /// Credentials for everybody.
    #[error("allow_credentials is true while allow_origins has *, which browsers refuse; name the origins")]
    Credentials,
    /// `max_age` is over a day.
    #[error("max_age is {given}, but it must be from 0s to 24h")]
    Age {
        /// The value.
        given: Span,
    },
    /// There are rules, but for nobody.
    #[error("allow_origins is empty, so that the other rules are for nobody")]
    Nobody,
}

impl Cors {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Cors::default()
    }

    /// Whether every origin is allowed.
    pub fn allows_any_origin(&self) -> bool {
        self.allow_origins.iter().any(|origin| origin == ANY)
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check(&self) -> Result<(), CorsError> {
        for (list, entries) in [
            ("allow_origins", &self.allow_origins),
            ("allow_methods", &self.allow_methods),
            ("allow_headers", &self.allow_headers),
            ("expose_headers", &self.expose_headers),
        ] {
            let count = entries.len();
            if count > MOST {
                return Err(CorsError::TooMany { list, count });
            }
        }
        if let Some(origin) = self.allow_origins.iter().find(|origin| !is_origin(origin)) {
            let origin = one_line(origin, LONGEST_ORIGIN);
            return Err(CorsError::Origin { origin });
        }
        let known = |method: &&String| METHODS.contains(&method.as_str());
        if let Some(method) = self.allow_methods.iter().find(|method| !known(method)) {
            let method = one_line(method, 40);
            return Err(CorsError::Method { method });
        }
        for (list, entries) in [
            ("allow_headers", &self.allow_headers),
            ("expose_headers", &self.expose_headers),
        ] {
            if let Some(header) = entries.iter().find(|header| !is_header(header)) {
                let header = one_line(header, 100);
                return Err(CorsError::Header { list, header });
            }
        }
        match self.max_age {
            Some(given) if given > LONGEST_AGE => return Err(CorsError::Age { given }),
            _ => {}
        }
        if self.allow_credentials && self.allows_any_origin() {
            return Err(CorsError::Credentials);
        }
        if self.allow_origins.is_empty() && !self.is_empty() {
            return Err(CorsError::Nobody);
        }
        Ok(())
    }
}

/// `scheme://host[:port]`, as browsers write it.
fn is_origin(text: &str) -> bool {
    let plain = |text: &str| {
        let mut bytes = text.bytes();
        !text.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b"-._~:[]".contains(&b))
    };
    let parts = text.split_once("://");
    text == ANY || (text.len() <= LONGEST_ORIGIN && parts.is_some_and(|(scheme, host)| plain(scheme) && plain(host)))
}

fn is_header(text: &str) -> bool {
    text == ANY || (text.len() <= LONGEST_HEADER && http::HeaderName::from_bytes(text.as_bytes()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(change: impl FnOnce(&mut Cors)) -> Result<(), CorsError> {
        let mut cors = Cors {
            allow_origins: vec!["https://example.org".into(), "http://localhost:3000".into()],
            allow_methods: vec!["GET".into(), "*".into()],
            allow_headers: vec!["x-a".into(), "*".into()],
            expose_headers: vec!["x-b".into()],
            allow_credentials: true,
            max_age: Some(Span::hours(24)),
        };
        change(&mut cors);
        cors.check()
    }

    #[test]
    fn good_rules_and_none_are_let_through() {
        assert_eq!(cors(|_| ()), Ok(()));
        assert_eq!(cors(|cors| *cors = Cors::default()), Ok(()));
        let open = Cors {
            allow_origins: vec![ANY.into()],
            ..Cors::default()
        };
        assert_eq!((open.check(), open.allows_any_origin()), (Ok(()), true));
    }

    #[test]
    fn every_bound_has_its_error() {
        for origin in [
            "https://example.org/",
            "example.org",
            "null",
            "",
            "https://a b",
            "://",
            "https://*.org",
        ] {
            let error = cors(|cors| cors.allow_origins.push(origin.into())).unwrap_err();
            assert!(matches!(error, CorsError::Origin { .. }), "{origin}: {error}");
        }
        let origins = vec!["https://a".to_owned(); 101];
        assert_eq!(
            cors(|cors| cors.allow_origins = origins),
            Err(CorsError::TooMany {
                list: "allow_origins",
                count: 101
            })
        );
        for method in ["OPTIONS", "get", ""] {
            let error = cors(|cors| cors.allow_methods.push(method.into())).unwrap_err();
            assert!(matches!(error, CorsError::Method { .. }), "{error}");
        }
        for header in ["a b", "", "a\r\nb", "a,b"] {
            let error = cors(|cors| cors.expose_headers.push(header.into())).unwrap_err();
            assert!(
                matches!(
                    error,
                    CorsError::Header {
                        list: "expose_headers",
                        ..
                    }
                ),
                "{error}"
            );
        }
        let given = Span::secs(86_401);
        assert_eq!(cors(|cors| cors.max_age = Some(given)), Err(CorsError::Age { given }));
        assert_eq!(
            cors(|cors| cors.allow_origins.push(ANY.into())),
            Err(CorsError::Credentials)
        );
        assert_eq!(cors(|cors| cors.allow_origins.clear()), Err(CorsError::Nobody));
    }
}
