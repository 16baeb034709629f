//! The id of one request, made here and nowhere else.
//!
//! What a caller sends as `x-fn-request-id` or `x-request-id` is never taken over: the id is a file-name-safe key of the
//! log and of the metrics' exemplars, and a caller must not be able to choose one that another caller already has.

use std::fmt;

use http::HeaderValue;
use uuid::Uuid;

/// The id of one request: a version 7 UUID (RFC 9562), so that ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A fresh id.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// A number from 0 up to 1 that is as good as chance, always the same for one id.
    pub fn dice(&self) -> f64 {
        // The last four bytes of a version 7 UUID are random.
        let [.., a, b, c, d] = *self.0.as_bytes();
        f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
    }

    /// The id as a header value: 36 characters, lower-case hexadecimal and hyphens.
    pub fn header(&self) -> HeaderValue {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text: &str = self.0.hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).expect("hexadecimal digits and hyphens are valid in a header")
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_text_agree_and_ids_differ() {
        let (a, b) = (RequestId::new(), RequestId::new());
        assert_ne!(a, b);
        assert_eq!(a.header().to_str().unwrap(), a.to_string());
        assert_eq!(a.to_string().len(), 36);
        assert_eq!(a.to_string().as_bytes()[14], b'7');
    }
}
