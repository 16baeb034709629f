//! What Lambda's API reads of a request before it believes it, for the crate `fuzz`.

use http::request::Parts;
use jiff::Timestamp;

use super::address::Address;
use super::invoke::options::Options;
use super::signature::Claim;

/// A secret that no input was signed with.
const SECRET: &str = "a secret that nobody knows";

/// Reads a request as the API does: its address, the headers of an invocation, and its signature at the moment `now`.
///
/// # Panics
/// When a signature is believed, or an address does not survive being written.
pub fn request(head: &Parts, body: &[u8], now: Timestamp) {
    for part in head.uri.path().split('/') {
        if let Ok(address) = Address::read(part, head.uri.query()) {
            let again = Address::read(&address.arn(), None).expect("an ARN that was written is read");
            assert_eq!(address.arn(), again.arn());
        }
    }
    let _options = Options::read(&head.headers);
    if let Ok(claim) = Claim::read(head, now) {
        assert!(claim.verify(head, body, SECRET).is_err(), "nobody could sign this");
    }
}
