//! Bundles that must not be unpacked: the client refuses them for its user's sake, the server because it trusts no client.

use futures_util::stream;
use tar::EntryType;
use tests::archive::{Archive, header};
use tests::{Reply, Server, Source};

const BUNDLES: &str = "http://localhost/v1/bundles";

async fn upload(server: &Server, archive: Vec<u8>) -> Reply {
    server
        .admin()
        .post(BUNDLES, archive)
        .await
        .expect("the server answers, however bad the bundle is")
}

/// Panics unless the server refuses the archive with an error that contains `expected`, and serves on.
async fn refused(server: &Server, archive: Vec<u8>, expected: &str) {
    let reply = upload(server, archive).await;
    assert!(
        (400..500).contains(&reply.status),
        "expected a refusal, seen {}: {}",
        reply.status,
        reply.text()
    );
    reply.error(reply.status);
    assert!(
        reply.text().to_lowercase().contains(expected),
        "expected `{expected}` in: {}",
        reply.text()
    );
}

#[tokio::test]
async fn links_that_lead_out() {
    let server = Server::start().await;
    for target in ["/etc/passwd", "../outside", "../../../../etc/shadow"] {
        let archive = Archive::with_handler()
            .member("link", EntryType::Symlink, target, b"")
            .finish();
        refused(&server, archive, "link").await;
    }
    let through = Archive::with_handler()
        .member("dir", EntryType::Symlink, "/tmp", b"")
        .file("dir/written-through-a-link", b"x")
        .finish();
    refused(&server, through, "link").await;
    assert!(!std::path::Path::new("/tmp/written-through-a-link").exists());
    refused(
        &server,
        Archive::with_handler()
            .member("hard", EntryType::Link, "/etc/passwd", b"")
            .finish(),
        "link",
    )
    .await;

    let source = Source::python_body("    return 'ok'").link("passwd", "/etc/passwd");
    server.try_deploy("out", source.path(), &[]).await.refused("link");
    let source = Source::python_body("    return open('/function/inner').read()")
        .file("real", "inside")
        .link("inner", "real");
    server.deploy("in", &source, &[]).await;
    assert_eq!(
        server.call("in").await.good().json(),
        "inside",
        "a link that stays inside is fine"
    );
}

#[tokio::test]
async fn names_that_lead_out() {
    let server = Server::start().await;
    for name in ["/etc/absolute", "../outside", "a/../../outside", "a/./../b/../../c"] {
        refused(&server, Archive::with_handler().file(name, b"x").finish(), "path").await;
    }
    let twice = Archive::with_handler().file("same", b"1").file("same", b"2").finish();
    refused(&server, twice, "same").await;
    let both = Archive::with_handler()
        .file("a", b"file")
        .file("a/b", b"below a file")
        .finish();
    let reply = upload(&server, both).await;
    assert!((400..500).contains(&reply.status), "{} {}", reply.status, reply.text());
    let deep = "d/".repeat(49) + "f";
    let archive = Archive::with_handler().file(&deep, b"x").finish();
    assert_eq!(
        upload(&server, archive).await.status,
        200,
        "49 directories are within the bound of 64"
    );
}

#[tokio::test]
async fn devices_and_other_things_that_are_no_files() {
    let server = Server::start().await;
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        let archive = Archive::with_handler().member("thing", kind, "", b"").finish();
        refused(&server, archive, "thing").await;
    }
    let source = Source::python_body("    return 'ok'");
    let fifo = source.join("pipe");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o644)).expect("a fifo can be made");
    server.try_deploy("pipe", source.path(), &[]).await.refused("pipe");
    let source = Source::python_body("    return 'ok'");
    let _listener = std::os::unix::net::UnixListener::bind(source.join("sock")).expect("a socket can be made");
    server.try_deploy("sock", source.path(), &[]).await.refused("sock");
}

#[tokio::test]
async fn two_hundred_thousand_files() {
    let server = Server::start().await;
    let reply = upload(&server, Archive::with_handler().files(200_000).finish()).await;
    assert!([413, 422].contains(&reply.status), "{} {}", reply.status, reply.text());
    reply.error(reply.status);
    assert!(
        reply.text().contains("files"),
        "the message names the limit: {}",
        reply.text()
    );
    server
        .deploy("after", &Source::python_body("    return 'ok'"), &[])
        .await;
    server.call("after").await.good();
}

#[tokio::test]
async fn a_gigabyte() {
    let server = Server::start().await;
    const GIGABYTE: usize = 1 << 30;
    let head = header("big", EntryType::Regular, "", GIGABYTE as u64)
        .as_bytes()
        .to_vec();
    let zeros = (0..GIGABYTE / (1 << 20)).map(|_| vec![0_u8; 1 << 20]);
    let chunks = std::iter::once(head).chain(zeros).map(Ok::<_, std::io::Error>);
    let reply = server
        .admin()
        .post(BUNDLES, reqwest::Body::wrap_stream(stream::iter(chunks)))
        .await;
    let reply = reply.expect("the server answers although it stops reading");
    assert!([413, 422].contains(&reply.status), "{} {}", reply.status, reply.text());
    reply.error(reply.status);
    assert!(
        reply.text().contains("more than"),
        "the message names the limit: {}",
        reply.text()
    );

    let source = Source::python_body("    return 'ok'");
    // A sparse file costs nothing here and would be a gigabyte there.
    std::fs::File::create(source.join("big"))
        .and_then(|file| file.set_len(GIGABYTE as u64))
        .expect("a sparse file can be made");
    server.try_deploy("big", source.path(), &[]).await.refused("more than");
}

#[tokio::test]
async fn what_is_no_archive() {
    let server = Server::start().await;
    let cut = Archive::with_handler().file("large", &[7; 100_000]).finish();
    for bytes in [
        b"this is no archive".to_vec(),
        vec![0xff; 10_000],
        cut[..cut.len() / 2].to_vec(),
    ] {
        let reply = upload(&server, bytes).await;
        assert!((400..500).contains(&reply.status), "{} {}", reply.status, reply.text());
        reply.error(reply.status);
    }
    let zip = Source::empty().file("not.zip", "PK, but no zip");
    server.try_deploy("zip", &zip.join("not.zip"), &[]).await.refused("zip");
}
