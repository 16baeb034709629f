//! The dashboards are true: promtool accepts them, and behind every panel's query a real Prometheus finds data of a loaded server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tests::client::Client;
use tests::program::{self, Background};
use tests::{Server, Source, poll, skip};

/// The directory of the dashboards.
fn dashboards() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie in the workspace")
        .join("dashboards")
}

/// A program of Debian's package `prometheus`.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<_> = std::env::split_paths(&path).collect();
    dirs.insert(0, "/usr/bin".into());
    dirs.into_iter().map(|dir| dir.join(name)).find(|path| path.exists())
}

#[tokio::test]
async fn promtool_accepts_the_rules_and_the_metrics() {
    let Some(promtool) = find("promtool") else {
        skip!("promtool is not installed (package prometheus)")
    };
    let promtool = promtool.to_str().expect("programs have plain names");
    let path = |name: &str| dashboards().join(name).into_os_string();
    program::run(promtool, ["check".into(), "config".into(), path("prometheus.yml")])
        .await
        .good();
    program::run(
        promtool,
        [
            "check".into(),
            "rules".into(),
            path("rules/recording.yml"),
            path("rules/alerts.yml"),
        ],
    )
    .await
    .good();
    program::run(promtool, ["test".into(), "rules".into(), path("rules/tests.yml")])
        .await
        .good();

    let server = Server::start().await;
    server
        .deploy("measured", &Source::python_body("    return 'ok'"), &[])
        .await;
    server.call("measured").await.good();
    server.call("no-such-function").await;
    let metrics = server
        .client()
        .get(&format!("{}/metrics", server.url()))
        .await
        .expect("/metrics answers")
        .good();
    let file = server.place().ours("metrics");
    std::fs::write(&file, &metrics.body).expect("our own file can be written");
    let said = program::run_with_input(promtool, &["check", "metrics"], &file)
        .await
        .good();
    assert_eq!(said.all().trim(), "", "promtool has something to say");
}

#[tokio::test]
async fn every_panel_has_data() {
    let Some(prometheus) = find("prometheus") else {
        skip!("prometheus is not installed (package prometheus)")
    };
    let server = Server::start().await;
    let limited = server.does_not_enforce("memory").await.is_none();
    let prometheus = Prometheus::start(&prometheus, &server).await;
    server
        .deploy(
            "loaded",
            &Source::python_body("    sum(range(20000))\n    return 'ok'"),
            &[],
        )
        .await;
    server
        .deploy(
            "failing",
            &Source::python_body("    raise ValueError('on purpose')"),
            &[],
        )
        .await;
    server
        .deploy("falling", &Source::python_body("    os._exit(3)"), &[])
        .await;

    let mut waiting = queries();
    assert!(waiting.len() >= 20, "the dashboard has its panels: {waiting:?}");
    if !limited {
        // Without cgroups nobody knows what a function uses, and the dashboard is honestly empty there.
        waiting.retain(|_, query| {
            !["fn_memory_bytes", "fn_cpu_seconds_total", "fn_pids"]
                .iter()
                .any(|name| query.contains(name))
        });
    }
    poll::until("data behind every panel", async || {
        load(&server).await;
        let mut still = BTreeMap::new();
        for (panel, query) in std::mem::take(&mut waiting) {
            if !prometheus.has_data(&query).await {
                still.insert(panel, query);
            }
        }
        waiting = still;
        if !waiting.is_empty() {
            // Shown by the test harness only when the deadline passes.
            println!("no data yet: {waiting:#?}");
        }
        waiting.is_empty().then_some(())
    })
    .await;
    for rule in [
        "function:fn_invocations:rate5m",
        "function:fn_cold_duration_seconds:p95_5m",
    ] {
        poll::until(&format!("data of the rule {rule}"), async || {
            load(&server).await;
            prometheus.has_data(rule).await.then_some(())
        })
        .await;
    }
}

/// Some of every kind of call: cold, warm, failing, refused, ending its process.
async fn load(server: &Server) {
    server.evict("loaded").await;
    for _ in 0..20 {
        server.call("loaded").await.good();
    }
    server.call("failing").await.error(502);
    server.call("no-such-function").await.error(404);
    // Three of these are an alert.
    server.call("falling").await.error(502);
}

/// Every query of every panel with its variables replaced, by the panel's title and the query's letter.
fn queries() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(dashboards().join("grafana/fn.json")).expect("the dashboard can be read");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("the dashboard is JSON");
    let mut queries = BTreeMap::new();
    for panel in dashboard["panels"].as_array().expect("a dashboard has panels") {
        let title = panel["title"].as_str().expect("a panel has a title");
        if panel["type"] == "row" {
            continue;
        }
        for target in panel["targets"].as_array().expect("a panel has targets") {
            let query = target["expr"].as_str().expect("a target has a query");
            let query = query
                .replace("$__rate_interval", "10s")
                .replace("$function", ".*")
                .replace("$job", ".*");
            assert!(
                !query.contains('$'),
                "{title}: a variable that this test does not know: {query}"
            );
            queries.insert(
                format!("{title} {}", target["refId"].as_str().unwrap_or_default()),
                query,
            );
        }
    }
    for variable in dashboard["templating"]["list"]
        .as_array()
        .expect("a dashboard has variables")
    {
        if variable["type"] == "query" {
            let definition = variable["definition"]
                .as_str()
                .expect("a variable has a definition")
                .replace("$job", ".*");
            let inner = definition
                .strip_prefix("label_values(")
                .and_then(|rest| rest.strip_suffix(')'));
            let (series, label) = inner
                .and_then(|inner| inner.rsplit_once(", "))
                .expect("the values of a label");
            let name = variable["name"].as_str().unwrap_or_default();
            queries.insert(format!("variable {name}"), format!("count by ({label}) ({series})"));
        }
    }
    queries
}

/// A Prometheus that scrapes one server every second, by the configuration of the dashboards.
struct Prometheus {
    _process: Background,
    _data: tempfile::TempDir,
    client: Client,
    url: String,
}

impl Prometheus {
    async fn start(program: &Path, server: &Server) -> Self {
        let data = tempfile::tempdir().expect("a directory can be made");
        let rules = data.path().join("rules");
        std::fs::create_dir(&rules).expect("a directory can be made");
        for name in ["recording.yml", "alerts.yml"] {
            std::fs::copy(dashboards().join("rules").join(name), rules.join(name)).expect("the rules can be copied");
        }
        let config =
            std::fs::read_to_string(dashboards().join("prometheus.yml")).expect("the configuration can be read");
        assert!(
            config.contains("127.0.0.1:8080") && config.contains("_interval: 15s"),
            "{config}"
        );
        let config = config
            .replace("127.0.0.1:8080", server.address())
            .replace("_interval: 15s", "_interval: 1s");
        let file = data.path().join("prometheus.yml");
        std::fs::write(&file, config).expect("our own file can be written");
        let address = free_address();
        let args = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", data.path().join("data").display()),
            format!("--web.listen-address={address}"),
        ];
        let mut process = Background::start(program, args, &data.path().join("log"));
        let (client, url) = (Client::tcp(), format!("http://{address}"));
        poll::until("prometheus to be ready", async || {
            if let Some(code) = process.ended() {
                panic!("prometheus ended with {code:?}:\n{}", process.log());
            }
            let reply = client.get(&format!("{url}/-/ready")).await.ok()?;
            (reply.status == 200).then_some(())
        })
        .await;
        Self {
            _process: process,
            _data: data,
            client,
            url,
        }
    }

    /// Whether a query finds at least one number now. A quantile of nothing is no number.
    async fn has_data(&self, query: &str) -> bool {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/query", self.url), [("query", query)]);
        let reply = self
            .client
            .get(url.expect("an address with a query").as_str())
            .await
            .expect("prometheus answers");
        let answer = reply.json();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let results = answer["data"]["result"].as_array().expect("a list of results");
        results
            .iter()
            .any(|result| result["value"][1].as_str().is_some_and(|value| value != "NaN"))
    }
}

/// An address that was free a moment ago: Prometheus takes no port 0 that it would tell us about.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").to_string()
}

#[test]
fn the_dashboard_needs_no_plugin_and_has_no_two_panels_alike() {
    let text = std::fs::read_to_string(dashboards().join("grafana/fn.json")).expect("the dashboard can be read");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("a dashboard has panels");
    let mut ids: Vec<_> = panels
        .iter()
        .map(|panel| panel["id"].as_u64().expect("a panel has an id"))
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), panels.len());
    for panel in panels {
        let kind = panel["type"].as_str().expect("a panel has a type");
        assert!(
            ["row", "stat", "timeseries"].contains(&kind),
            "{kind} is not among Grafana's own panels that we use"
        );
        assert!(
            kind == "row" || panel["description"].as_str().is_some_and(|text| !text.is_empty()),
            "{}",
            panel["title"]
        );
    }
}
