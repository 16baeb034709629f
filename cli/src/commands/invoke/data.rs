//! The body of a call: `-d TEXT`, `-d @FILE`, `-d @-`.
//!
//! Files and standard input are sent while they are read, so a body may be larger than the memory and a function may
//! answer before its end. The content type is guessed from the first piece; a header that was typed wins over it.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;

use futures_util::stream;
use reqwest::Body;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::exit::Exit;
use crate::failure::Explain;

/// How much is read at a time.
const PIECE: usize = 64 * 1024;

/// A body with its likely content type.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) body: Body,
    pub(super) content_type: &'static str,
}

/// A body that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("the body can't be read from {from}")]
pub(crate) struct DataError {
    /// The file, or the words "standard input".
    from: String,
    /// What the system says.
    #[source]
    cause: io::Error,
}

impl Explain for DataError {
    fn exit(&self) -> Exit {
        if self.cause.kind() == io::ErrorKind::NotFound {
            Exit::NotFound
        } else {
            Exit::BadInput
        }
    }

    fn code(&self) -> String {
        "unreadable_body".into()
    }
}

/// Opens what was typed after `-d`.
pub(super) async fn open(typed: &str) -> Result<Data, DataError> {
    let Some(place) = typed.strip_prefix('@') else {
        let body = typed.as_bytes().to_vec();
        return Ok(Data {
            content_type: content_type(&body, Piece::Whole),
            body: body.into(),
        });
    };
    let from = if place == "-" { "standard input" } else { place };
    let failed = |cause| DataError {
        from: from.to_owned(),
        cause,
    };
    let reader: Pin<Box<dyn AsyncRead + Send>> = match place {
        "-" => Box::pin(standard_input().map_err(failed)?),
        path => Box::pin(tokio::fs::File::open(path).await.map_err(failed)?),
    };
    read(reader).await.map_err(failed)
}

/// Standard input as a file, read on a thread that may wait for it.
fn standard_input() -> io::Result<tokio::fs::File> {
    Ok(tokio::fs::File::from_std(
        io::stdin().as_fd().try_clone_to_owned()?.into(),
    ))
}

/// Reads the first piece, and sends the rest as it comes. What fits into one piece is sent with its length.
async fn read(mut reader: Pin<Box<dyn AsyncRead + Send>>) -> io::Result<Data> {
    let first = piece(&mut reader).await?;
    let second = if first.is_empty() {
        Vec::new()
    } else {
        piece(&mut reader).await?
    };
    if second.is_empty() {
        return Ok(Data {
            content_type: content_type(&first, Piece::Whole),
            body: first.into(),
        });
    }
    let content_type = content_type(&first, Piece::Beginning);
    let rest = stream::try_unfold(
        (Some(first), Some(second), reader),
        async |(first, second, mut reader)| {
            let next = match (first, second) {
                (Some(first), second) => return Ok(Some((first, (None, second, reader)))),
                (None, Some(second)) => second,
                (None, None) => piece(&mut reader).await?,
            };
            Ok::<_, io::Error>(if next.is_empty() {
                None
            } else {
                Some((next, (None, None, reader)))
            })
        },
    );
    Ok(Data {
        content_type,
        body: Body::wrap_stream(rest),
    })
}

/// What one read brings; nothing at the end.
async fn piece(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(PIECE);
    reader.read_buf(&mut piece).await?;
    Ok(piece)
}

/// How much of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Whole,
    Beginning,
}

/// JSON when it is, or begins like an object or an array; text when it is UTF-8; else bytes.
fn content_type(bytes: &[u8], piece: Piece) -> &'static str {
    let json = match piece {
        Piece::Whole => serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok(),
        Piece::Beginning => matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[')),
    };
    let text = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        // A character may be cut at the end of a piece that is not the last.
        Err(error) => piece == Piece::Beginning && error.error_len().is_none(),
    };
    match (json, text) {
        (true, true) => "application/json",
        (false, true) => "text/plain; charset=utf-8",
        (_, false) => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_follows_from_the_bytes() {
        assert_eq!(content_type(b"{\"a\": 1}", Piece::Whole), "application/json");
        assert_eq!(content_type(b"42", Piece::Whole), "application/json");
        assert_eq!(content_type(b"{oops", Piece::Whole), "text/plain; charset=utf-8");
        assert_eq!(content_type(b" [1, 2,", Piece::Beginning), "application/json");
        assert_eq!(
            content_type("na\u{ef}ve".as_bytes(), Piece::Whole),
            "text/plain; charset=utf-8"
        );
        assert_eq!(content_type(b"caf\xc3", Piece::Beginning), "text/plain; charset=utf-8");
        assert_eq!(content_type(b"caf\xc3", Piece::Whole), "application/octet-stream");
        assert_eq!(content_type(b"\x89PNG\xff", Piece::Whole), "application/octet-stream");
        assert_eq!(content_type(b"", Piece::Whole), "text/plain; charset=utf-8");
    }

    #[tokio::test]
    async fn a_file_of_one_piece_has_a_length_and_a_longer_one_is_streamed() {
        let small = read(Box::pin(&b"hello"[..])).await.unwrap();
        assert_eq!(small.body.as_bytes(), Some(&b"hello"[..]));
        let large = read(Box::pin(io::Cursor::new(vec![b'x'; 3 * PIECE]))).await.unwrap();
        assert_eq!(large.body.as_bytes(), None);
    }
}
