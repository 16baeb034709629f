//! The admin API over its socket.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use crate::platform::Platform;
use crate::wire::{read_to_end, read_until, refused};

#[tokio::test]
async fn the_socket_is_for_its_owner_alone() {
    let platform = Platform::start().await;
    let mode = std::fs::metadata(platform.dir.path().join("admin.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let info = platform.admin("GET", "/v1/info", "").await.json();
    assert_eq!(info["url"], format!("http://{}", platform.address));
    assert!(info["report"]["findings"].is_array());
    // The API is not on TCP.
    platform.get("/v1/info").await.refused(404, "not_found");
    let api = platform.admin("GET", "/v1/openapi.json", "").await.json();
    assert!(api["paths"]["/v1/functions/{name}"]["put"].is_object());
    assert!(
        platform
            .admin("GET", "/metrics", "")
            .await
            .text()
            .contains("process_open_fds")
    );
}

#[tokio::test]
async fn a_function_is_deployed_listed_shown_and_removed() {
    let platform = Platform::start().await;
    let first = platform.deploy("hello", json!({ "memory": "64MiB" })).await.json();
    assert_eq!(
        (first["name"].as_str(), first["revision"].as_u64()),
        (Some("hello"), Some(1))
    );
    assert_eq!(first["check"]["runtime"], "puppet");
    assert_eq!(first["url"], format!("http://{}/function/hello", platform.address));
    platform.deploy_program("other", json!({})).await;
    assert_eq!(platform.deploy("hello", json!({})).await.json()["revision"], 2);
    let list = platform.admin("GET", "/v1/functions", "").await.json();
    let names: Vec<_> = list["functions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["hello", "other"]);
    assert_eq!(list["functions"][1]["runtime"], "stdio");
    platform.get("/function/hello/hello").await;
    let shown = platform.admin("GET", "/v1/functions/hello", "").await.json();
    assert_eq!(shown["live"], 2);
    assert_eq!(shown["revisions"], json!([1, 2]));
    assert_eq!(shown["settings"]["memory"], "256MiB");
    assert_eq!(shown["instances"].as_array().unwrap().len(), 1);
    assert_eq!(
        platform.admin("DELETE", "/v1/functions/hello", "").await.json()["removed"],
        "hello"
    );
    platform
        .get("/function/hello/hello")
        .await
        .refused(404, "function_not_found");
    for (method, path) in [("GET", ""), ("DELETE", ""), ("POST", "/evict"), ("GET", "/logs")] {
        platform
            .admin(method, &format!("/v1/functions/hello{path}"), "")
            .await
            .refused(404, "function_not_found");
    }
    assert!(!platform.metrics().await.contains("function=\"hello\""));
    // The name is free again.
    assert_eq!(platform.deploy("hello", json!({})).await.status, 200);
}

#[tokio::test]
async fn bundles_are_known_by_their_digest() {
    let platform = Platform::start().await;
    let digest = platform.upload(&[("handler.py", "def handler(e, c): pass\n")]).await;
    assert_eq!(
        platform
            .admin("HEAD", &format!("/v1/bundles/{digest}"), "")
            .await
            .status,
        200
    );
    let other = "0".repeat(64);
    assert_eq!(
        platform.admin("HEAD", &format!("/v1/bundles/{other}"), "").await.status,
        404
    );
    assert_eq!(platform.admin("HEAD", "/v1/bundles/..", "").await.status, 400);
    let garbage = platform
        .admin("POST", "/v1/bundles", "this is no archive".repeat(100))
        .await;
    assert_eq!(garbage.status, 422, "{garbage:?}");
    assert!(garbage.json()["error"]["hint"].is_string());
    platform
        .put("hello", &json!({ "bundle": other }))
        .await
        .refused(404, "no_bundle");
}

#[tokio::test]
async fn bad_deploys_say_what_is_wrong_and_change_nothing() {
    let platform = Platform::start().await;
    let good = platform.deploy("hello", json!({})).await;
    assert_eq!(good.status, 200, "{good:?}");
    let unknown = platform
        .deploy("hello", json!({ "memmory": "64MiB" }))
        .await
        .refused(422, "manifest_invalid");
    assert!(
        unknown["error"]["message"].as_str().unwrap().contains("memory"),
        "{unknown}"
    );
    platform
        .deploy("hello", json!({ "memory": "1B" }))
        .await
        .refused(422, "manifest_invalid");
    platform
        .deploy("hello", json!({ "runtime": "cobol" }))
        .await
        .refused(422, "manifest_invalid");
    platform
        .deploy("Bad_Name", json!({}))
        .await
        .refused(400, "invalid_function_name");
    let empty = platform.upload(&[("README", "nothing here")]).await;
    let nothing = platform
        .put("hello", &json!({ "bundle": empty }))
        .await
        .refused(422, "nothing_to_run");
    assert!(nothing["error"]["hint"].is_string());
    platform
        .admin("PUT", "/v1/functions/hello", "{")
        .await
        .refused(400, "bad_request");
    platform
        .admin("PUT", "/v1/functions/hello", "{\"bundel\":1}")
        .await
        .refused(400, "bad_request");
    platform
        .admin("PATCH", "/v1/functions/hello", "")
        .await
        .refused(405, "method_not_allowed");
    platform
        .admin("GET", "/v2/functions", "")
        .await
        .refused(404, "not_found");
    assert_eq!(
        platform.admin("GET", "/v1/functions/hello", "").await.json()["revisions"],
        json!([1])
    );
}

#[tokio::test]
async fn two_deploys_at_once_are_two_revisions() {
    let platform = Platform::start().await;
    let (a, b) = tokio::join!(
        platform.deploy("hello", json!({})),
        platform.deploy("hello", json!({ "memory": "64MiB" }))
    );
    let mut numbers = [
        a.json()["revision"].as_u64().unwrap(),
        b.json()["revision"].as_u64().unwrap(),
    ];
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(platform.get("/function/hello/hello").await.header("x-fn-revision"), "2");
}

#[tokio::test]
async fn what_a_function_prints_is_found_by_its_request_and_followed() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({})).await;
    let first = platform.get("/function/hello/print").await;
    let id = first.header("x-fn-request-id").to_owned();
    let lines = platform
        .admin("GET", &format!("/v1/functions/hello/logs?request={id}"), "")
        .await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let texts: Vec<String> = lines
        .text()
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["text"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(texts, ["printed", "and more"]);
    let mut follow = UnixStream::connect(platform.dir.path().join("admin.sock"))
        .await
        .unwrap();
    follow
        .write_all(b"GET /v1/functions/hello/logs?follow=true&tail=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut seen = String::new();
    until(&mut follow, &mut seen, "and more").await;
    assert!(!seen.contains("\"printed\""), "{seen}");
    let second = platform.get("/function/hello/print").await;
    until(&mut follow, &mut seen, second.header("x-fn-request-id")).await;
    // A follower does not keep the server from stopping.
    platform.stop().await;
}

async fn until(stream: &mut UnixStream, seen: &mut String, text: &str) {
    use tokio::io::AsyncReadExt;
    let read = async {
        while !seen.contains(text) {
            let mut piece = [0; 4096];
            let length = stream.read(&mut piece).await.unwrap();
            assert_ne!(length, 0, "closed before {text}: {seen}");
            seen.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    };
    tokio::time::timeout(crate::wire::PATIENCE, read)
        .await
        .expect("the text comes");
}

#[tokio::test]
async fn a_body_that_outlives_its_function_starts_nothing() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({})).await;
    let before = platform.puppets.started();
    let mut slow = TcpStream::connect(platform.address).await.unwrap();
    let head = "POST /function/hello/hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body once the call is admitted.
    read_until(&mut slow, "100 Continue").await;
    platform.admin("DELETE", "/v1/functions/hello", "").await;
    slow.write_all(b"{}").await.unwrap();
    let reply = read_to_end(&mut slow).await;
    refused(reply.trim_start(), 404, "function_not_found");
    assert_eq!(platform.puppets.started(), before);
    // Nor does it leave anything of the function in the metrics.
    assert!(!platform.metrics().await.contains("\"hello\""));
}

#[tokio::test]
async fn a_call_that_is_cut_by_a_removal_leaves_no_metrics() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({})).await;
    let mut hanging = TcpStream::connect(platform.address).await.unwrap();
    hanging
        .write_all(b"GET /function/hello/stream-hangs HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut hanging, "one ").await;
    assert_eq!(platform.admin("DELETE", "/v1/functions/hello", "").await.status, 200);
    // The connection is cut when the account of the call has ended.
    read_to_end(&mut hanging).await;
    assert!(!platform.metrics().await.contains("\"hello\""));
}
