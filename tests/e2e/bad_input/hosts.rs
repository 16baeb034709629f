//! A machine that does not give what a server needs: the port, the directory, the space.

use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::Uid;
use tests::place::server_user;
use tests::program::Background;
use tests::server::serve_args;
use tests::{Place, Server, Source, skip};

/// Starts a server that is expected to refuse, and returns what it said.
async fn refusal(place: &Place, args: &[&str]) -> String {
    let mut process = Server::launch(place, args);
    let code = process.end().await;
    let said = process.log();
    assert!(
        code.is_some_and(|code| code != 0),
        "expected a refusal, seen {code:?}: {said}"
    );
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[tokio::test]
async fn the_port_is_taken() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let bound = listener.local_addr().expect("it is bound");
    let (address, port) = (bound.to_string(), bound.port().to_string());
    let said = refusal(&Place::new(), &["--listen", &address]).await;
    assert!(said.contains(&port), "it names the port: {said}");
    assert!(said.contains("is taken"), "it says why: {said}");
    assert!(said.contains("--listen"), "it says what to do: {said}");
}

#[tokio::test]
async fn two_servers_on_one_state_directory() {
    let place = Place::new();
    let other = Place::new();
    let first = Server::start_in(place, &[]).await;
    let state = first.place().state();
    let state = state.to_str().expect("temporary paths are text");
    let mut args = serve_args(&other, ["--listen", "127.0.0.1:0"]);
    let at = args
        .iter()
        .position(|arg| arg == "--state-dir")
        .expect("it is always given");
    args[at + 1] = state.into();
    let mut second = Background::start(&tests::server::binary(), args, &other.log());
    let code = second.end().await;
    assert!(
        code.is_some_and(|code| code != 0),
        "two servers on one state: {}",
        second.log()
    );
    assert!(second.log().contains(state), "it names the directory: {}", second.log());
    first
        .deploy("unharmed", &Source::python_body("    return 'ok'"), &[])
        .await;
    first.call("unharmed").await.good();
}

#[tokio::test]
async fn the_state_directory_is_of_another_version() {
    let place = Place::new();
    let server = Server::start_in(place, &[]).await;
    server
        .deploy("kept", &Source::python_body("    return 'ok'"), &[])
        .await;
    server.signal(nix::sys::signal::Signal::SIGTERM);
    let (code, place) = server.end().await;
    assert_eq!(code, Some(0));
    // Python's own SQLite: the version is `user_version`, in the header of every database.
    let script =
        "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute('pragma user_version = 9999')\nc.commit()";
    let database = place.state().join("fn.db");
    tests::program::run(
        "/usr/bin/python3",
        ["-c".as_ref(), script.as_ref(), database.as_os_str()],
    )
    .await
    .good();
    for leftover in ["fn.db", "fn.db-wal", "fn.db-shm"] {
        let path = place.state().join(leftover);
        if path.exists() {
            tests::place::give_to_server(&path);
        }
    }
    let said = refusal(&place, &[]).await;
    assert!(said.contains("version"), "it says what is wrong: {said}");
    assert!(said.contains("9999"), "it says which one it found: {said}");
}

#[tokio::test]
async fn the_state_directory_is_somebody_elses() {
    let place = Place::new();
    let other = Uid::effective().is_root();
    let state = if other {
        // As root the directory belongs to a third user: neither root nor the one that the server becomes.
        let third = server_user().map_or(1, |user| user.uid.as_raw() + 1);
        nix::unistd::chown(&place.state(), Some(Uid::from_raw(third)), None).expect("root may give files away");
        place.state()
    } else {
        Path::new("/usr/lib").to_path_buf()
    };
    let mut args = serve_args(&place, ["--listen", "127.0.0.1:0"]);
    let at = args
        .iter()
        .position(|arg| arg == "--state-dir")
        .expect("it is always given");
    args[at + 1] = state.clone().into();
    let mut process = Background::start(&tests::server::binary(), args, &place.log());
    let code = process.end().await;
    let said = process.log();
    assert!(
        code.is_some_and(|code| code != 0),
        "expected a refusal, seen {code:?}: {said}"
    );
    assert!(
        said.contains(&*state.to_string_lossy()),
        "it names the directory: {said}"
    );
    assert!(
        said.contains("own") || said.contains("ermission"),
        "it says why: {said}"
    );
}

#[tokio::test]
async fn a_user_that_does_not_exist() {
    if !Uid::effective().is_root() {
        skip!("only root can become another user");
    }
    let place = Place::new();
    let args = ["serve", "--listen", "127.0.0.1:0", "--user", "no-such-user"];
    let said = tests::program::run(
        tests::server::binary(),
        args.iter().chain(&["--state-dir", &place.state().to_string_lossy()]),
    )
    .await;
    said.refused("no-such-user");
    let said = tests::program::run(
        tests::server::binary(),
        ["serve", "--listen", "127.0.0.1:0", "--user", "root"],
    )
    .await;
    said.refused("root");
}

/// A file system of 24 MB on the state directory. The drop unmounts it.
struct SmallDisk<'a>(&'a Path);

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = umount2(self.0, MntFlags::MNT_DETACH);
    }
}

#[tokio::test]
async fn the_disk_is_full() {
    let place = Place::new();
    let state = place.state();
    let small: Source = Source::python_body("    return 'ok'");
    if Uid::effective().is_root() {
        mount(
            None::<&str>,
            &state,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("size=24m,mode=0700"),
        )
        .expect("root may mount");
        let _disk = SmallDisk(&state);
        tests::place::give_to_server(&state);
        let server = Server::start_in(place, &[]).await;
        a_large_bundle_is_refused(&server, &small).await;
        return;
    }
    let server = Server::start_on_small_disk(place).await;
    match server {
        Some(server) => a_large_bundle_is_refused(&server, &small).await,
        None => skip!("this host lets no user mount in a namespace of his own"),
    }
}

async fn a_large_bundle_is_refused(server: &Server, small: &Source) {
    server.deploy("small", small, &[]).await;
    let large = Source::python_body("    return 'large'").file("data", vec![7_u8; 40 << 20]);
    let said = server.try_deploy("large", large.path(), &[]).await.refused("disk");
    assert!(
        said.all().contains("space") || said.all().contains("full"),
        "{}",
        said.all()
    );
    server.call("small").await.good();
    assert_eq!(
        server.call("large").await.error(404),
        "function_not_found",
        "nothing half is left"
    );
    server.deploy("small", small, &[]).await;
    server.call("small").await.good();
}
