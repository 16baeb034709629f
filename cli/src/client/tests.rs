use futures_util::stream;

use super::*;
use crate::exit::Exit;

#[test]
fn an_error_document_is_read_with_its_hint() {
    let body =
        br#"{"error":{"code":"function_not_found","message":"no function 'x'","request_id":"r","hint":"see fn list"}}"#;
    let error = ApiError::read(StatusCode::NOT_FOUND, body);
    assert_eq!(error.code, "function_not_found");
    assert_eq!(error.message, "no function 'x'");
    assert_eq!(error.hint.as_deref(), Some("see fn list"));
    assert_eq!(error.exit(), Exit::NotFound);
}

#[test]
fn a_failed_check_shows_the_traceback_like_the_interpreter_does() {
    let body = br#"{"error":{"code":"check_failed","message":"the handler can't be loaded",
        "details":{"errorType":"SyntaxError","errorMessage":"invalid syntax","stackTrace":["  File \"handler.py\", line 1\n"],"output":"loading\n"}}}"#;
    let error = ApiError::read(StatusCode::UNPROCESSABLE_ENTITY, body);
    let expected = "  File \"handler.py\", line 1\nSyntaxError: invalid syntax\nIt printed:\nloading";
    assert_eq!(error.details.as_deref(), Some(expected));
    assert_eq!(error.exit(), Exit::CheckFailed);
}

#[test]
fn a_body_that_is_no_document_still_says_what_came() {
    let error = ApiError::read(StatusCode::BAD_GATEWAY, b"upstream fell over");
    assert_eq!(error.code, "bad_gateway");
    assert_eq!(error.details.as_deref(), Some("upstream fell over"));
    assert_eq!(error.exit(), Exit::Failed);
}

#[test]
fn statuses_fall_into_the_documented_exit_codes() {
    let exit = |status: u16| ApiError::read(StatusCode::from_u16(status).unwrap(), b"").exit();
    assert_eq!(exit(413), Exit::Limit);
    assert_eq!(exit(429), Exit::Limit);
    assert_eq!(exit(507), Exit::Failed);
    assert_eq!(exit(400), Exit::BadInput);
    assert_eq!(exit(422), Exit::BadInput);
    assert_eq!(exit(500), Exit::Failed);
    assert_eq!(exit(503), Exit::Failed);
}

#[test]
fn a_code_that_says_more_than_its_status_decides() {
    let exit = |code: &str| {
        let body = format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
        ApiError::read(StatusCode::UNPROCESSABLE_ENTITY, body.as_bytes()).exit()
    };
    assert_eq!(exit("bundle_too_many_files"), Exit::Limit);
    assert_eq!(exit("bundle_link_outside"), Exit::BadInput);
    assert_eq!(exit("runtime_missing"), Exit::Failed);
    assert_eq!(exit("manifest_invalid"), Exit::BadInput);
}

#[test]
fn a_path_can_not_climb_out_of_its_function() {
    for path in ["/../../other", "/a/../../evict", "/%2e%2e/%2E%2E/x", "/..", "/.%2e"] {
        assert!(
            matches!(invoke_url("n", path), Err(ClientError::BadPath { .. })),
            "{path}"
        );
    }
    assert!(matches!(invoke_url("n", "relative"), Err(ClientError::BadPath { .. })));
    assert_eq!(
        invoke_url("n", "/").unwrap().as_str(),
        "http://localhost/v1/functions/n/invoke/"
    );
    assert_eq!(
        invoke_url("n", "/a/./b?x=..#f").unwrap().path(),
        "/v1/functions/n/invoke/a/b"
    );
}

#[tokio::test]
async fn lines_are_found_wherever_the_pieces_are_cut() {
    let text = "{\"a\":1}\n\n{\"a\":2}\n{\"a\":3}";
    for size in 1..text.len() {
        let pieces: Vec<Result<Vec<u8>, ClientError>> = text.as_bytes().chunks(size).map(|c| Ok(c.to_vec())).collect();
        let found: Vec<i64> = lines::documents(stream::iter(pieces))
            .map(|document| document.unwrap()["a"].as_i64().unwrap())
            .collect()
            .await;
        assert_eq!(found, [1, 2, 3], "pieces of {size} bytes");
    }
}
