//! Where a function may connect to, outside of its sandbox: nowhere, or to destinations that its settings name.
//!
//! A [`Destination`] is a DNS name and a port. Addresses are not taken: inside, the name leads to an address of the loopback device, and an address
//! that is written into a program has no name that could lead elsewhere. What the name means outside is decided when a connection is made, see
//! `warm_pool::egress`.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most destinations of one function.
pub const MOST_DESTINATIONS: usize = 16;

/// Longest DNS name, in bytes, as it is written.
const NAME_LENGTH: usize = 253;
/// Longest part of a DNS name between two points.
const LABEL_LENGTH: usize = 63;

/// The section `[network]`, both as typed and as resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Where the function may connect to; nowhere when it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Destination>,
}

impl Network {
    /// Whether the function may connect to nothing.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty()
    }
}

/// A DNS name in small letters, and a TCP port. Written as `example.org:443`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Destination {
    host: String,
    port: NonZeroU16,
}

/// Text that is no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DestinationError {
    /// There is no port, or none from 1 to 65535.
    #[error("{0:?} has no port; write for example \"example.org:443\"")]
    Port(String),
    /// An address stands where a name should.
    #[error("{0:?} is an address; name the host by its DNS name, as only names can be led out of a sandbox")]
    Address(String),
    /// The name of the machine itself.
    #[error("{0:?} means the sandbox itself inside; nothing else can be called so")]
    Localhost(String),
    /// What stands before the port is no DNS name.
    #[error("{0:?} is no DNS name: parts of 1 to 63 letters, digits, '-' and '_', at most 253 bytes in all")]
    Name(String),
}

impl Destination {
    /// The name, in small letters, without a point at its end.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> NonZeroU16 {
        self.port
    }
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let shown = || crate::one_line(text, NAME_LENGTH);
        let no_port = || DestinationError::Port(shown());
        let (host, port) = text.rsplit_once(':').ok_or_else(no_port)?;
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = digits.then(|| port.parse().ok()).flatten().ok_or_else(no_port)?;
        let host = host.to_ascii_lowercase();
        // What the C library reads as an address has numbers alone in its last part, such as 1.2.3.4, 127.1 and 0x7f000001.
        let last = host.rsplit('.').next().unwrap_or_default();
        let number = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
        if host.contains([':', '[']) || (number && !last.is_empty()) {
            return Err(DestinationError::Address(shown()));
        }
        if host == "localhost" {
            return Err(DestinationError::Localhost(shown()));
        }
        let label = |label: &str| {
            (1..=LABEL_LENGTH).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
        };
        if host.len() > NAME_LENGTH || !host.split('.').all(label) {
            return Err(DestinationError::Name(shown()));
        }
        Ok(Destination { host, port })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl TryFrom<String> for Destination {
    type Error = DestinationError;
    fn try_from(text: String) -> Result<Self, DestinationError> {
        text.parse()
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_and_a_port_are_a_destination() {
        for (text, written) in [
            ("example.org:443", "example.org:443"),
            ("Example.ORG:80", "example.org:80"),
            ("db:5432", "db:5432"),
            ("_sip.a-b.example:65535", "_sip.a-b.example:65535"),
            ("1.example:1", "1.example:1"),
        ] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn each_bad_form_is_named() {
        use DestinationError::{Address, Localhost, Name, Port};
        let error = |text: &str| text.parse::<Destination>().unwrap_err();
        for text in [
            "example.org",
            "example.org:",
            "example.org:0",
            "example.org:65536",
            "a:+1",
            "a:1 ",
        ] {
            assert!(matches!(error(text), Port(_)), "{text}");
        }
        for text in [
            "127.0.0.1:80",
            "127.1:80",
            "[::1]:80",
            "::1:80",
            "0x7f000001:80",
            "1:80",
        ] {
            assert!(matches!(error(text), Address(_)), "{text}");
        }
        assert!(matches!(error("LocalHost:80"), Localhost(_)));
        let long = format!("{}:80", "a.".repeat(127) + "a");
        for text in [
            ":80", "a b:80", "a..b:80", "a.:80", "-a:80", "a-:80", "ä:80", "a\n:80", "a/b:80", &long,
        ] {
            assert!(matches!(error(text), Name(_)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_read_back_and_has_nothing_that_a_hosts_file_reads(text in "[ -~\n\t]{0,40}|[a-z0-9._-]{1,20}:[0-9]{1,5}") {
            if let Ok(destination) = text.parse::<Destination>() {
                prop_assert_eq!(destination.to_string().parse::<Destination>().unwrap(), destination.clone());
                prop_assert!(!destination.host().contains(|c: char| c.is_whitespace() || c == '#'));
                prop_assert!(destination.host().parse::<std::net::IpAddr>().is_err());
            }
        }
    }
}
