//! Signature Version 4, from the verifier's side ("Signature Version 4 signing process", AWS General Reference).
//!
//! Pure: a request's head, its body and a secret in, a verdict out. Only signatures in the `Authorization` header are read; the query form
//! of presigned addresses is not. [`Claim::read`] looks at what costs nothing, so that a body is taken in only from somebody who names a
//! key that exists and a time that is now.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

/// The one algorithm.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The service in the scope of a signature.
const SERVICE: &str = "lambda";
/// The end of every scope.
const TERMINATOR: &str = "aws4_request";
/// How far a signature's time may be from ours.
const SKEW: SignedDuration = SignedDuration::from_mins(5);
/// Most headers that a signature may name.
const MOST_HEADERS: usize = 100;

/// Why a request is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    /// There is no `Authorization` header with a signature.
    #[error("the request is not signed; set the credentials that `fn aws-env` prints")]
    Missing,
    /// The header is there but is not understood.
    #[error("the Authorization header is not a signature of version 4: {0}")]
    Malformed(&'static str),
    /// The key id is not the server's.
    #[error("the access key id is not the one of this server; `fn aws-env` prints it")]
    UnknownKey,
    /// The time is too far from now.
    #[error("the signature was made at {signed}, more than five minutes from this server's time, {now}")]
    Expired {
        /// When the signature says it was made.
        signed: Timestamp,
        /// The time here.
        now: Timestamp,
    },
    /// A header that has to be signed is not.
    #[error("the header {0} must be signed")]
    Unsigned(String),
    /// The signature is another one.
    #[error(
        "the signature does not match; the secret access key is another one, or the request was changed on its way"
    )]
    Mismatch,
}

/// What an `Authorization` header claims.
#[derive(Debug)]
pub(crate) struct Claim {
    key_id: String,
    date: String,
    region: String,
    time: String,
    signed_headers: Vec<String>,
    signature: [u8; 32],
}

impl Claim {
    /// Reads the claim of a request and checks its time and its form; the signature itself is not looked at.
    pub(crate) fn read(head: &Parts, now: Timestamp) -> Result<Self, SignatureError> {
        let mut lines = head.headers.get_all(AUTHORIZATION).iter();
        let line = lines.next().ok_or(SignatureError::Missing)?;
        if lines.next().is_some() {
            return Err(SignatureError::Malformed("there is more than one"));
        }
        let text = line
            .to_str()
            .map_err(|_| SignatureError::Malformed("it is not ASCII"))?;
        let fields = text
            .strip_prefix(ALGORITHM)
            .filter(|rest| rest.starts_with(' '))
            .ok_or(SignatureError::Malformed("it does not begin with AWS4-HMAC-SHA256"))?;
        let field = |name: &'static str| {
            fields.split(',').find_map(|field| {
                let (key, value) = field.trim().split_once('=')?;
                (key == name).then_some(value)
            })
        };
        let scope = field("Credential").ok_or(SignatureError::Malformed("it has no Credential"))?;
        let [key_id, date, region, service, terminator] = scope
            .split('/')
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|_| SignatureError::Malformed("Credential is not KEY/DATE/REGION/lambda/aws4_request"))?;
        if service != SERVICE || terminator != TERMINATOR {
            return Err(SignatureError::Malformed("it is for another service than lambda"));
        }
        let signed = field("SignedHeaders").ok_or(SignatureError::Malformed("it has no SignedHeaders"))?;
        let signed_headers: Vec<String> = signed.split(';').map(str::to_owned).collect();
        if signed_headers.len() > MOST_HEADERS || !signed_headers.is_sorted_by(|a, b| a < b) {
            return Err(SignatureError::Malformed("SignedHeaders is not a sorted list"));
        }
        let signature = field("Signature")
            .and_then(unhex)
            .ok_or(SignatureError::Malformed("Signature is not 64 hexadecimal digits"))?;
        let time = head
            .headers
            .get("x-amz-date")
            .and_then(|time| time.to_str().ok())
            .ok_or(SignatureError::Malformed("the header X-Amz-Date is missing"))?;
        let at = (time.len() == 16)
            .then(|| DateTime::strptime("%Y%m%dT%H%M%SZ", time).ok())
            .flatten()
            .and_then(|time| time.to_zoned(TimeZone::UTC).ok())
            .map(|time| time.timestamp())
            .ok_or(SignatureError::Malformed("X-Amz-Date is not YYYYMMDDTHHMMSSZ"))?;
        if !time.starts_with(date) || date.len() != 8 {
            return Err(SignatureError::Malformed(
                "the dates of Credential and X-Amz-Date differ",
            ));
        }
        if at.duration_since(now).abs() > SKEW {
            return Err(SignatureError::Expired { signed: at, now });
        }
        let claim = Self {
            key_id: key_id.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            time: time.to_owned(),
            signed_headers,
            signature,
        };
        claim.covers(&head.headers)?;
        Ok(claim)
    }

    /// The key that is said to have signed.
    pub(crate) fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Checks the signature over head and body.
    pub(crate) fn verify(&self, head: &Parts, body: &[u8], secret: &str) -> Result<(), SignatureError> {
        let payload = hex(&Sha256::digest(body));
        let announced = head.headers.get("x-amz-content-sha256");
        if announced.is_some_and(|announced| !announced.as_bytes().eq_ignore_ascii_case(payload.as_bytes())) {
            return Err(SignatureError::Mismatch);
        }
        let canonical = self.canonical_request(head, &payload)?;
        let text = format!(
            "{ALGORITHM}\n{}\n{}/{}/{SERVICE}/{TERMINATOR}\n{}",
            self.time,
            self.date,
            self.region,
            hex(&Sha256::digest(canonical.as_bytes()))
        );
        let key = signing_key(secret, &self.date, &self.region, SERVICE);
        keyed(&key, text.as_bytes())
            .verify_slice(&self.signature)
            .map_err(|_| SignatureError::Mismatch)
    }

    /// Whether everything that changes what a request means is signed.
    fn covers(&self, headers: &HeaderMap) -> Result<(), SignatureError> {
        let signed = |name: &str| self.signed_headers.iter().any(|signed| signed == name);
        let needed = headers
            .keys()
            .map(|name| name.as_str())
            .filter(|name| *name == "host" || name.starts_with("x-amz-"));
        for name in needed.chain(["host"]) {
            if !signed(name) {
                return Err(SignatureError::Unsigned(name.to_owned()));
            }
        }
        Ok(())
    }

    fn canonical_request(&self, head: &Parts, payload: &str) -> Result<String, SignatureError> {
        let mut text = format!("{}\n", head.method);
        // The path is encoded once more, as it is for every service but S3.
        encode(head.uri.path().as_bytes(), Slash::Kept, &mut text);
        text.push('\n');
        text.push_str(&canonical_query(head.uri.query().unwrap_or_default()));
        text.push('\n');
        for name in &self.signed_headers {
            let mut values = head.headers.get_all(name).iter().peekable();
            if values.peek().is_none() {
                return Err(SignatureError::Mismatch);
            }
            text.push_str(name);
            for (at, value) in values.enumerate() {
                text.push(if at == 0 { ':' } else { ',' });
                let value = value.to_str().map_err(|_| SignatureError::Mismatch)?;
                let mut words = value.split_ascii_whitespace();
                text.push_str(words.next().unwrap_or_default());
                for word in words {
                    text.push(' ');
                    text.push_str(word);
                }
            }
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.signed_headers.join(";"));
        text.push('\n');
        text.push_str(payload);
        Ok(text)
    }
}

/// What happens to a slash.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slash {
    Kept,
    Encoded,
}

fn encode(bytes: &[u8], slash: Slash, out: &mut String) {
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(*byte)),
            b'/' if slash == Slash::Kept => out.push('/'),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
}

/// The parameters in one spelling, sorted.
fn canonical_query(query: &str) -> String {
    let spelled = |text: &str| {
        let mut out = String::new();
        encode(&decode(text), Slash::Encoded, &mut out);
        out
    };
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (spelled(name), spelled(value))
        })
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Takes percent-encoding away. A percent sign that encodes nothing stays.
fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let coded = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match coded.and_then(|digits| byte(digits[0], digits[1])) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

fn keyed(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is one for HMAC");
    mac.update(text);
    mac
}

fn signing_key(secret: &str, date: &str, region: &str, service: &str) -> [u8; 32] {
    let first = keyed(format!("AWS4{secret}").as_bytes(), date.as_bytes());
    [region, service, TERMINATOR]
        .iter()
        .fold(first.finalize().into_bytes().into(), |key: [u8; 32], part| {
            keyed(&key, part.as_bytes()).finalize().into_bytes().into()
        })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (into, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *into = byte(digits[0], digits[1])?;
    }
    Some(bytes)
}

/// The byte of two hexadecimal digits, and of nothing else: a number may have a sign, a digit may not.
fn byte(high: u8, low: u8) -> Option<u8> {
    let digit = |of: u8| char::from(of).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
mod tests;
