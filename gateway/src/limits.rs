//! What a request may weigh: its target, its headers, its body.
//!
//! The head is counted here although hyper bounds it too: its own bounds are wider and its own replies have no body. A body is either
//! collected up to a bound (handlers) or counted while it flows (stdio); in both cases a declared length over the bound is refused before
//! a byte is read.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::bodies::{Charge, Full};
use crate::outcome::{Code, Outcome};

/// The bounds of a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the request target (path and query).
    pub target: usize,
    /// Number of header lines.
    pub headers: usize,
    /// Bytes of all header lines, each counted as `name: value` and its line end.
    pub header_bytes: usize,
}

impl Default for HeadLimits {
    /// 8 KiB of target, 100 headers, 32 KiB of headers.
    fn default() -> Self {
        Self {
            target: 8 * 1024,
            headers: 100,
            header_bytes: 32 * 1024,
        }
    }
}

impl HeadLimits {
    /// Checks a head. `target_too_long` and `headers_too_large` are the only errors.
    pub fn check(&self, head: &Parts) -> Result<(), Outcome> {
        let target = match head.uri.path_and_query() {
            Some(target) => target.as_str().len(),
            None => 0,
        };
        if target > self.target {
            let text = format!("the request target has {target} bytes; the limit is {}", self.target);
            return Err(Outcome::new(Code::TargetTooLong, text).close());
        }
        let count = head.headers.len();
        if count > self.headers {
            let text = format!("the request has {count} headers; the limit is {}", self.headers);
            return Err(Outcome::new(Code::HeadersTooLarge, text).close());
        }
        let bytes: usize = head
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        if bytes > self.header_bytes {
            let text = format!(
                "the request has {bytes} bytes of headers; the limit is {}",
                self.header_bytes
            );
            return Err(Outcome::new(Code::HeadersTooLarge, text).close());
        }
        Ok(())
    }
}

/// Why a body could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is, or says it is, over the bound.
    #[error("the request body is over the limit of {limit} bytes")]
    TooLarge {
        /// The bound, in bytes.
        limit: u64,
    },
    /// The bodies of all calls together weigh as much as they may.
    #[error(transparent)]
    NoRoom(#[from] Full),
    /// The connection broke or its framing is wrong.
    #[error("the request body broke off")]
    Broken(#[source] axum::Error),
}

impl BodyError {
    /// What the caller gets for it. The connection is closed in every case: the rest of the body is still on it.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::TooLarge { limit } => Outcome::new(
                Code::BodyTooLarge,
                format!("the request body is over the limit of {limit} bytes"),
            )
            .close(),
            Self::NoRoom(full) => Outcome::new(Code::Unavailable, "the server holds as many request bodies as it may")
                .detail(full.to_string())
                .close(),
            Self::Broken(cause) => Outcome::new(Code::BadRequest, "the request body broke off or is malformed")
                .detail(format!("the request body broke off: {cause}"))
                .close(),
        }
    }
}

/// Refuses a body whose declared length is over `limit`, before a byte of it is read.
pub fn check_declared(head: &Parts, limit: u64) -> Result<(), BodyError> {
    match head
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok())
    {
        Some(declared) if declared > limit => Err(BodyError::TooLarge { limit }),
        _ => Ok(()),
    }
}

/// The whole body, at most `limit` bytes, each of them on `charge`. A body that came in one piece is handed on without a copy.
pub async fn collect(mut body: Body, limit: u64, charge: &mut Charge) -> Result<Bytes, BodyError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let mut counted = Counted { limit, seen: 0 };
    let Some(first) = next(&mut body, &mut counted).await? else {
        return Ok(Bytes::new());
    };
    charge.add(first.len())?;
    let Some(second) = next(&mut body, &mut counted).await? else {
        return Ok(first);
    };
    charge.add(second.len())?;
    let announced = body.size_hint().lower().min(limit) as usize;
    let mut all = BytesMut::with_capacity(first.len() + second.len() + announced);
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    while let Some(piece) = next(&mut body, &mut counted).await? {
        charge.add(piece.len())?;
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}

/// A count of body bytes against a bound.
#[derive(Debug)]
pub struct Counted {
    limit: u64,
    seen: u64,
}

impl Counted {
    /// A count from zero.
    pub fn new(limit: u64) -> Self {
        Self { limit, seen: 0 }
    }

    /// Adds the bytes of a piece; an error once the bound is passed.
    pub fn add(&mut self, bytes: usize) -> Result<(), BodyError> {
        self.seen += bytes as u64;
        if self.seen > self.limit {
            Err(BodyError::TooLarge { limit: self.limit })
        } else {
            Ok(())
        }
    }
}

/// The next piece of data of a body, counted; trailers are skipped.
pub async fn next(body: &mut Body, counted: &mut Counted) -> Result<Option<Bytes>, BodyError> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() {
            counted.add(data.len())?;
            return Ok(Some(data));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http::Request;
    use proptest::prelude::*;

    use super::*;
    use crate::bodies::Bodies;

    fn head(target: &str, headers: &[(String, String)]) -> Parts {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(name.as_str(), value.as_str());
        }
        request.body(()).unwrap().into_parts().0
    }

    fn pieces(sizes: &[usize]) -> Body {
        let pieces: Vec<Result<Bytes, std::io::Error>> = sizes.iter().map(|n| Ok(Bytes::from(vec![7; *n]))).collect();
        Body::from_stream(stream::iter(pieces))
    }

    #[test]
    fn the_bounds_themselves_are_allowed() {
        let limits = HeadLimits::default();
        let many: Vec<_> = (0..100).map(|i| (format!("x-{i}"), "v".to_owned())).collect();
        assert!(limits.check(&head("/", &many)).is_ok());
        let over: Vec<_> = (0..101).map(|i| (format!("x-{i}"), "v".to_owned())).collect();
        assert_eq!(
            limits.check(&head("/", &over)).unwrap_err().code(),
            Code::HeadersTooLarge
        );
        let big = vec![("x".to_owned(), "v".repeat(32 * 1024 - 5))];
        assert!(limits.check(&head("/", &big)).is_ok());
        let bigger = vec![("x".to_owned(), "v".repeat(32 * 1024 - 4))];
        assert_eq!(
            limits.check(&head("/", &bigger)).unwrap_err().code(),
            Code::HeadersTooLarge
        );
        assert!(limits.check(&head(&format!("/{}", "a".repeat(8191)), &[])).is_ok());
        let long = limits.check(&head(&format!("/{}", "a".repeat(8192)), &[])).unwrap_err();
        assert_eq!(long.code(), Code::TargetTooLong);
    }

    #[test]
    fn a_declared_length_is_believed_when_it_refuses() {
        let over = head("/", &[("content-length".into(), "11".into())]);
        assert!(check_declared(&over, 10).is_err());
        assert!(check_declared(&over, 11).is_ok());
        assert!(check_declared(&head("/", &[]), 0).is_ok());
    }

    proptest! {
        #[test]
        fn a_collected_body_is_whole_or_refused(sizes in prop::collection::vec(0usize..50, 0..8), limit in 0u64..200) {
            let total: usize = sizes.iter().sum();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            match runtime.block_on(collect(pieces(&sizes), limit, &mut Bodies::new(1000).charge())) {
                Ok(all) => prop_assert!(all.len() == total && total as u64 <= limit),
                Err(BodyError::TooLarge { .. }) => prop_assert!(total as u64 > limit),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }

        #[test]
        fn head_bounds_hold_for_any_head(count in 0usize..140, len in 0usize..600, path in 0usize..9000) {
            let limits = HeadLimits::default();
            let headers: Vec<_> = (0..count).map(|i| (format!("h{i:03}"), "v".repeat(len))).collect();
            let fits = count <= 100 && count * (4 + len + 4) <= limits.header_bytes && path < limits.target;
            prop_assert_eq!(limits.check(&head(&format!("/{}", "p".repeat(path)), &headers)).is_ok(), fits);
        }
    }
}
