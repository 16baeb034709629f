//! Where the result of a call in the background goes: a POST to the address that its caller named in `X-Callback-Url`.
//!
//! The caller chooses the address and the function chooses what is sent, but the server sends it, from inside of whatever network it stands in. So it
//! goes to hosts that the operator named and to no others, never by way of a redirect or a proxy, and its end is told to nobody but the log: a caller
//! can't use it to look around.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHORIZATION};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use crate::exchange;
use crate::outcome::{Code, Outcome};
use crate::reply;
use crate::telemetry::Callback as Metric;

/// How often a result is sent until somebody takes it.
const TRIES: u32 = 4;
/// The first wait between two tries; each is twice the one before.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// How long a connection may take, and a whole try.
const CONNECT: Duration = Duration::from_secs(5);
const TRY: Duration = Duration::from_secs(30);

/// A host that may get results: `HOST` with any port, or `HOST:PORT` with this one alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackHost {
    host: String,
    port: Option<u16>,
}

/// A text that names no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a host that may get results is HOST or HOST:PORT, without a scheme and a path")]
pub struct NoHost;

impl FromStr for CallbackHost {
    type Err = NoHost;

    fn from_str(text: &str) -> Result<Self, NoHost> {
        let authority: Authority = text.parse().map_err(|_| NoHost)?;
        let port = match authority.port() {
            Some(port) => Some(port.as_str().parse().map_err(|_| NoHost)?),
            // A colon without a number behind it, or with one that is no port.
            None if text.ends_with(':') => return Err(NoHost),
            None => None,
        };
        // Written as an address has it: in lower case, numbers as an IPv4 address, a domain in ASCII.
        let url = Url::parse(&format!("http://{text}/")).map_err(|_| NoHost)?;
        match url.host_str() {
            Some(host) if url.username().is_empty() && url.password().is_none() => Ok(Self {
                host: host.to_owned(),
                port,
            }),
            _ => Err(NoHost),
        }
    }
}

impl fmt::Display for CallbackHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// An address that results may be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(Url);

/// Sends results.
#[derive(Debug)]
pub(crate) struct Callbacks {
    client: Client,
    hosts: Vec<CallbackHost>,
}

/// What is sent.
pub(crate) struct Sent {
    /// Everything that goes in the head.
    pub(crate) headers: HeaderMap,
    /// The function's body.
    pub(crate) body: Bytes,
}

impl Callbacks {
    /// Sends to these hosts.
    pub(crate) fn new(hosts: Vec<CallbackHost>) -> Self {
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(TRY)
            .pool_max_idle_per_host(0)
            .build()
            .expect("a client without TLS needs nothing of the system");
        Self { client, hosts }
    }

    /// Reads `X-Callback-Url`.
    ///
    /// # Errors
    /// `bad_request` when it is no address, has another scheme than `http`, or names a host that the operator did not.
    pub(crate) fn address(&self, header: &HeaderValue) -> Result<Address, Outcome> {
        let bad = |text| Outcome::new(Code::BadRequest, text);
        let url = header
            .to_str()
            .ok()
            .and_then(|text| Url::parse(text).ok())
            .ok_or_else(|| bad("X-Callback-Url is no absolute address"))?;
        if url.scheme() != "http" {
            return Err(bad("X-Callback-Url has another scheme than http"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("X-Callback-Url holds a user or a password"));
        }
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default());
        let named = |named: &CallbackHost| named.host == host && (named.port.is_none() || named.port == port);
        match self.hosts.iter().any(named) {
            true => Ok(Address(url)),
            false => Err(bad(
                "X-Callback-Url names a host that gets no results from this server; start it with --callback-host HOST[:PORT] to let it",
            )),
        }
    }

    /// Sends a result until somebody takes it, and logs when nobody does. Takes a few minutes at most.
    pub(crate) async fn send(
        &self,
        Address(url): &Address,
        result: Sent,
        request: crate::request_id::RequestId,
    ) -> Metric {
        let Sent { mut headers, body } = result;
        // What a function says of its own connection, of its reply's length, or of where a request goes is not for this one.
        reply::drop_connection(&mut headers);
        for name in [HOST, CONTENT_LENGTH, EXPECT, PROXY_AUTHORIZATION] {
            headers.remove(name);
        }
        let mut wait = FIRST_WAIT;
        let mut tries = 1;
        loop {
            let sent = self
                .client
                .post(url.clone())
                .headers(headers.clone())
                .body(body.clone())
                .send();
            let (end, why) = match sent.await.map(|answer| answer.status()) {
                Ok(status) if status.is_success() => return Metric::Delivered,
                Ok(status) => (Metric::Refused, Err(status)),
                Err(error) => (Metric::Unreachable, Ok(exchange::chain(&error.without_url()))),
            };
            let again = match &why {
                Err(status) => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
                Ok(_) => true,
            };
            if !again || tries == TRIES {
                let why = why.unwrap_or_else(|status| format!("it answered {status}"));
                let host = url.host_str().unwrap_or_default();
                tracing::warn!(%request, host, tries, "a result was not taken: {why}");
                return end;
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
            tries += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(hosts: &[&str], address: &str) -> Result<Address, String> {
        let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        Callbacks::new(hosts)
            .address(&HeaderValue::from_str(address).unwrap())
            .map_err(|outcome| {
                assert_eq!(outcome.code(), Code::BadRequest);
                outcome.message().to_owned()
            })
    }

    #[test]
    fn results_go_where_the_operator_said_and_nowhere_else() {
        let hosts = ["Hooks.example", "127.0.0.1:9000", "[::1]:80"];
        for fine in [
            "http://hooks.example/a?b=c",
            "http://HOOKS.example:8443/",
            "http://127.0.0.1:9000/done",
            "http://[::1]/",
            "http://[0:0::1]:80/",
            // Another spelling of the same host.
            "http://0x7f.1:9000/",
        ] {
            assert!(allowed(&hosts, fine).is_ok(), "{fine}");
        }
        for refused in [
            "http://127.0.0.1/",
            "http://127.0.0.1:9001/",
            "http://localhost:9000/",
            "http://hooks.example.evil/",
            "http://evil/hooks.example",
            "http://[::1]:81/",
            "http://169.254.169.254/",
            "https://hooks.example/",
            "file:///etc/passwd",
            "http://user@hooks.example/",
            "http://hooks.example@evil/",
            "http://:secret@hooks.example/",
            "/relative",
            "hooks.example",
            "",
        ] {
            assert!(allowed(&hosts, refused).is_err(), "{refused}");
        }
        assert!(
            allowed(&[], "http://127.0.0.1:9000/")
                .unwrap_err()
                .contains("--callback-host")
        );
    }

    #[test]
    fn hosts_are_read() {
        for (text, shown) in [
            ("EXAMPLE.org", "example.org"),
            ("example.org:80", "example.org:80"),
            ("[::1]:9", "[::1]:9"),
            ("127.1", "127.0.0.1"),
        ] {
            assert_eq!(
                text.parse::<CallbackHost>().map(|host| host.to_string()).as_deref(),
                Ok(shown)
            );
        }
        for text in [
            "", "http://a", "a/b", "a:", "a:x", "a:99999", "u@a", "u:p@a", "a b", "*",
        ] {
            // A star is a name like another and matches itself alone.
            assert_eq!(text.parse::<CallbackHost>().is_ok(), text == "*", "{text}");
        }
    }
}
