//! What a function may connect to: nothing, or what its settings name, as far as the operator lets it.
//!
//! The outside is a server on the loopback device of the host, under a name that means this machine, so it is reached with `--egress-allow` alone.

use tests::listener::Listener;
use tests::{Place, Server, Source};

const NAME: &str = "fn-test.localhost";
/// The option that lets functions reach the host's loopback device.
const LOOPBACK: [&str; 2] = ["--egress-allow", "127.0.0.0/8"];

/// Tries each address of the query, and says what came of it.
const PYTHON: &str = "
    import errno, http.client, socket
    said = {}
    for target in query['to'].split(','):
        host, port = target.rsplit(':', 1)
        caller = http.client.HTTPConnection(host, int(port), timeout=20)
        try:
            caller.request('GET', '/from-python')
            said[target] = caller.getresponse().status
        except socket.gaierror:
            said[target] = 'unknown'
        except OSError as error:
            said[target] = errno.errorcode.get(error.errno, type(error).__name__)
    return said
";

const NODE: &str = "
export const handler = async (event) => {
    try {
        return (await fetch(`http://${event.queryStringParameters.to}/from-node`)).status;
    } catch (error) {
        return error.cause.code;
    }
};
";

const SHELL: &str = "
exec python3 -c \"
import os, urllib.request
print(urllib.request.urlopen('http://' + os.environ['Http_Query'].split('=')[1] + '/from-shell', timeout=20).status)
\"";

fn port(listener: &Listener) -> u16 {
    let port = listener
        .address()
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    port.expect("an address has a port")
}

async fn deploy(server: &Server, name: &str, source: &Source, port: u16) {
    let allow = format!("network.allow=[\"{NAME}:{port}\"]");
    server.deploy(name, source, &["--set", &allow]).await;
}

async fn ask(server: &Server, name: &str, to: &str) -> String {
    let url = format!("{}?to={to}", server.function(name));
    server
        .client()
        .get(&url)
        .await
        .expect("the server answers")
        .good()
        .text()
}

async fn ask_all(server: &Server, name: &str, to: &[&str]) -> Vec<serde_json::Value> {
    let said: serde_json::Value = serde_json::from_str(&ask(server, name, &to.join(",")).await).expect("it says JSON");
    to.iter().map(|target| said[*target].clone()).collect()
}

#[tokio::test]
async fn a_function_of_any_kind_reaches_what_it_may_by_its_name() {
    let mut listener = Listener::start(&[204]).await;
    let server = Server::start_in(Place::new(), &LOOPBACK).await;
    let port = port(&listener);
    let target = format!("{NAME}:{port}");
    for (name, source) in [("shell", Source::shell(SHELL)), ("node", Source::node(NODE))] {
        deploy(&server, name, &source, port).await;
        for _ in 0..2 {
            assert_eq!(ask(&server, name, &target).await.trim(), "204", "{name}");
            let seen = listener.next().await;
            assert_eq!(seen.line, format!("GET /from-{name} HTTP/1.1"));
            assert_eq!(seen.header("host"), target);
        }
    }
    deploy(&server, "python", &Source::python_body(PYTHON), port).await;
    for _ in 0..3 {
        assert_eq!(ask_all(&server, "python", &[&target]).await, [204]);
        assert_eq!(listener.next().await.line, "GET /from-python HTTP/1.1");
    }
    let metrics = server.metrics().await;
    let connected = metrics.sum(
        "fn_egress_connections_total",
        &[("function", "python"), ("outcome", "connected")],
    );
    assert!(connected >= 3.0, "{connected}");
    for direction in ["sent", "received"] {
        assert!(
            metrics.sum(
                "fn_egress_bytes_total",
                &[("function", "node"), ("direction", direction)]
            ) > 0.0
        );
    }
    // No template of it would have the doors.
    let show = server.fn_command(["show", "python"]).await.good().all();
    assert!(show.contains("network.allow needs doors"), "{show}");
}

#[tokio::test]
async fn nothing_else_is_reached() {
    let listener = Listener::start(&[204]).await;
    let server = Server::start_in(Place::new(), &LOOPBACK).await;
    let port = port(&listener);
    let (target, other) = (format!("{NAME}:{port}"), format!("{NAME}:{}", port ^ 1));
    let (own, direct) = (format!("127.0.0.1:{port}"), format!("127.77.0.1:{}", port ^ 1));
    deploy(&server, "some", &Source::python_body(PYTHON), port).await;
    let said = ask_all(
        &server,
        "some",
        &[&other, &own, &direct, "8.8.8.8:53", "elsewhere.example:80"],
    )
    .await;
    assert_eq!(
        said,
        ["ECONNREFUSED", "ECONNREFUSED", "ECONNREFUSED", "ENETUNREACH", "unknown"]
    );
    server.deploy("none", &Source::python_body(PYTHON), &[]).await;
    let said = ask_all(&server, "none", &[&target, &own]).await;
    assert_eq!(said, ["unknown", "ECONNREFUSED"]);
    assert!(
        !server
            .metrics()
            .await
            .has("fn_egress_connections_total", &[("function", "none")])
    );
}

#[tokio::test]
async fn what_is_not_public_is_refused_unless_the_operator_allows_it() {
    let listener = Listener::start(&[204]).await;
    let server = Server::start().await;
    let port = port(&listener);
    deploy(&server, "refused", &Source::python_body(PYTHON), port).await;
    let target = format!("{NAME}:{port}");
    let said = ask_all(&server, "refused", &[&target]).await;
    assert!(
        ["ECONNRESET", "RemoteDisconnected"]
            .iter()
            .any(|error| said == [*error]),
        "{said:?}"
    );
    let outcome = async |outcome: &str| {
        let labels = [("function", "refused"), ("outcome", outcome)];
        server.metrics().await.sum("fn_egress_connections_total", &labels)
    };
    assert_eq!((outcome("refused").await, outcome("connected").await), (1.0, 0.0));
    server.fn_command(["rm", "refused"]).await.good();
    assert!(
        !server
            .metrics()
            .await
            .has("fn_egress_connections_total", &[("function", "refused")])
    );
}

#[tokio::test]
async fn an_address_in_the_place_of_a_name_is_no_deploy() {
    let server = Server::start().await;
    let source = Source::python_body("    return 1");
    let said = server
        .try_deploy("literal", source.path(), &["--set", "network.allow=[\"10.0.0.1:80\"]"])
        .await;
    assert_ne!(said.code, Some(0));
    assert!(said.all().contains("name the host by its DNS name"), "{}", said.all());
}
