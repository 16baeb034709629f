//! The http mode of OpenFaaS' of-watchdog, as the environment of a function says it: the `ENV` lines of its templates, in `[env]`.
//!
//! The watchdog starts `fprocess` and sends each request on to `http_upstream_url`. That is an `http` function here, so only these two are read.

use std::collections::BTreeMap;

/// The command line, where the variables `mode` and `fprocess` say that there is one.
pub(crate) fn command(env: &BTreeMap<String, String>) -> Option<&str> {
    let http = env.get("mode").is_some_and(|mode| mode == "http");
    env.get("fprocess")
        .map(|line| line.trim())
        .filter(|line| http && !line.is_empty())
}

/// The port of `http_upstream_url`, or of `upstream_url`, its older name; `None` without either.
///
/// # Errors
/// The address, when it is not one of this machine with a port.
pub(crate) fn port(env: &BTreeMap<String, String>) -> Result<Option<u16>, String> {
    let Some(address) = env.get("http_upstream_url").or_else(|| env.get("upstream_url")) else {
        return Ok(None);
    };
    let port = address
        .strip_prefix("http://")
        .map(|rest| rest.strip_suffix('/').unwrap_or(rest))
        .and_then(|rest| rest.split_once(':'))
        .filter(|(host, _)| matches!(*host, "127.0.0.1" | "localhost"))
        .and_then(|(_, port)| port.parse().ok());
    port.map(Some).ok_or_else(|| address.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_template_of_the_http_mode_is_recognised() {
        let template = env(&[
            ("mode", "http"),
            ("fprocess", "python index.py"),
            ("upstream_url", "http://127.0.0.1:5000"),
        ]);
        assert_eq!(command(&template), Some("python index.py"));
        assert_eq!(port(&template), Ok(Some(5000)));
        for other in [
            &[("fprocess", "cat")][..],
            &[("mode", "http")],
            &[("mode", "streaming"), ("fprocess", "cat")],
            &[("mode", "http"), ("fprocess", " ")],
        ] {
            assert_eq!(command(&env(other)), None, "{other:?}");
        }
        assert_eq!(port(&env(&[])), Ok(None));
    }

    #[test]
    fn an_upstream_elsewhere_is_refused() {
        assert_eq!(
            port(&env(&[("http_upstream_url", "http://localhost:3000/")])),
            Ok(Some(3000))
        );
        for address in [
            "http://10.0.0.1:80",
            "https://127.0.0.1:5000",
            "http://127.0.0.1",
            "http://127.0.0.1:x",
            "http://127.0.0.1:5000/path",
            "",
        ] {
            assert_eq!(port(&env(&[("http_upstream_url", address)])), Err(address.to_owned()));
        }
    }
}
