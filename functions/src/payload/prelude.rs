//! The head of a reply that a runtime of Lambda streams: a JSON object, eight NUL bytes, then the body.

use bytes::{Bytes, BytesMut};

use super::reply::{BadReply, ReplyHead, streamed_head};

/// The type of content that begins with such a head.
pub const PRELUDE_TYPE: &str = "application/vnd.awslambda.http-integration-response";

/// What stands between head and body.
pub const SEPARATOR: [u8; 8] = [0; 8];
/// Most bytes of a head: more than a reply's headers may have.
const LONGEST: usize = 64 * 1024;

/// Takes a stream apart, whose pieces are cut anywhere.
#[derive(Debug, Default)]
pub struct Prelude {
    seen: BytesMut,
}

impl Prelude {
    /// Takes the next piece. Once the head is whole: the head, and what of the body came with it.
    ///
    /// # Errors
    /// [`BadReply::Prelude`] for a head without end, and what [`super::reply`] has for one with strange content.
    pub fn push(&mut self, piece: &[u8]) -> Result<Option<(ReplyHead, Bytes)>, BadReply> {
        // The separator may have begun in the piece before.
        let from = self.seen.len().saturating_sub(SEPARATOR.len() - 1);
        self.seen.extend_from_slice(piece);
        let found = self.seen[from..]
            .windows(SEPARATOR.len())
            .position(|window| window == SEPARATOR);
        match found.map(|at| from + at) {
            Some(end) if end <= LONGEST => {
                let mut body = std::mem::take(&mut self.seen);
                let head = body.split_to(end);
                let body = body.split_off(SEPARATOR.len()).freeze();
                Ok(Some((streamed_head(&head)?, body)))
            }
            None if self.seen.len() <= LONGEST + SEPARATOR.len() => Ok(None),
            _ => Err(BadReply::Prelude),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(pieces: &[&[u8]]) -> Result<Option<(ReplyHead, Vec<u8>)>, BadReply> {
        let mut prelude = Prelude::default();
        let mut found: Option<(ReplyHead, Vec<u8>)> = None;
        for piece in pieces {
            match &mut found {
                Some((_, body)) => body.extend_from_slice(piece),
                None => found = prelude.push(piece)?.map(|(head, body)| (head, body.to_vec())),
            }
        }
        Ok(found)
    }

    #[test]
    fn status_headers_and_cookies_are_read() {
        let json = br#"{"statusCode":201,"headers":{"X-A":"b","x-many":["1","2"]},"cookies":["a=1","b=2"]}"#;
        let (head, body) = whole(&[json, &[0; 8], b"\0hello"]).unwrap().unwrap();
        assert_eq!((head.status.as_u16(), body.as_slice()), (201, &b"\0hello"[..]));
        assert_eq!(head.headers["x-a"], "b");
        assert_eq!(head.headers.get_all("x-many").iter().count(), 2);
        assert_eq!(head.headers.get_all("set-cookie").iter().count(), 2);
        let (head, _) = whole(&[b"{}\0\0\0\0\0\0\0\0"]).unwrap().unwrap();
        assert_eq!(head.status.as_u16(), 200);
    }

    #[test]
    fn a_head_without_end_and_nonsense_are_refused() {
        assert!(matches!(whole(&[&[b'x'; LONGEST + 9]]), Err(BadReply::Prelude)));
        assert!(matches!(whole(&[b"[]\0\0\0\0\0\0\0\0"]), Err(BadReply::NotJson(_))));
        assert!(matches!(
            whole(&[b"{\"statusCode\":99}\0\0\0\0\0\0\0\0"]),
            Err(BadReply::Status(_))
        ));
        assert!(whole(&[b"{}\0\0\0\0\0\0\0"]).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn wherever_it_is_cut_it_is_the_same(body in prop::collection::vec(any::<u8>(), 0..40), cuts in prop::collection::vec(0usize..80, 0..5)) {
            let mut all = br#"{"statusCode":202,"headers":{"a":"b"}}"#.to_vec();
            all.extend(SEPARATOR);
            all.extend(&body);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(all.len())).collect();
            cuts.sort_unstable();
            cuts.push(all.len());
            let mut from = 0;
            let pieces: Vec<&[u8]> = cuts.iter().map(|to| { let piece = &all[from..*to]; from = *to; piece }).collect();
            let (head, seen) = whole(&pieces).unwrap().unwrap();
            prop_assert_eq!(head.status.as_u16(), 202);
            // A body that begins with a NUL can't be told from a longer separator, and the first one counts.
            prop_assert_eq!(seen, body);
        }

        #[test]
        fn any_bytes_are_read_or_refused(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..6)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _ = whole(&pieces);
        }
    }
}
