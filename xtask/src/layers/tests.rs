use super::*;

fn package(name: &str, uses: &[(&str, Option<&str>)]) -> serde_json::Value {
    let dependencies: Vec<_> = uses
        .iter()
        .map(|(name, kind)| serde_json::json!({"name": name, "kind": kind, "path": format!("/w/{name}"), "source": null}))
        .collect();
    serde_json::json!({"name": name, "manifest_path": format!("/w/{name}/Cargo.toml"), "dependencies": dependencies})
}

fn check(packages: &[serde_json::Value]) -> Vec<String> {
    let metadata = serde_json::json!({"packages": packages, "workspace_root": "/w"});
    wrong_edges(&serde_json::from_value(metadata).unwrap())
}

#[test]
fn the_edges_of_the_design_are_allowed() {
    let wrong = check(&[
        package(
            "cli",
            &[
                ("gateway", None),
                ("warm-pool", None),
                ("sandbox", None),
                ("functions", None),
            ],
        ),
        package("gateway", &[("warm-pool", None), ("functions", None)]),
        package("warm-pool", &[("sandbox", None), ("functions", None)]),
        package("sandbox", &[]),
        package("functions", &[]),
        package("loadtest", &[]),
        package("xtask", &[]),
        package("tests", &[]),
    ]);
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn an_edge_to_the_left_is_refused() {
    let wrong = check(&[package("functions", &[("gateway", None)])]);
    assert_eq!(
        wrong,
        ["functions -> gateway (normal dependency): functions may use none of ours"]
    );
}

#[test]
fn an_edge_between_neighbours_is_refused() {
    assert_eq!(check(&[package("sandbox", &[("functions", None)])]).len(), 1);
    assert_eq!(check(&[package("functions", &[("sandbox", None)])]).len(), 1);
}

#[test]
fn dev_and_build_dependencies_count() {
    let wrong = check(&[package(
        "sandbox",
        &[("functions", Some("dev")), ("warm-pool", Some("build"))],
    )]);
    assert_eq!(wrong.len(), 2);
    assert!(wrong[0].contains("dev dependency"), "{wrong:?}");
}

#[test]
fn the_tests_and_tools_use_none_of_ours() {
    for name in ["tests", "xtask", "loadtest"] {
        assert_eq!(check(&[package(name, &[("functions", None)])]).len(), 1, "{name}");
    }
}

#[test]
fn a_crate_without_a_place_is_refused() {
    let wrong = check(&[package("helpers", &[])]);
    assert!(wrong[0].contains("no place yet"), "{wrong:?}");
}

#[test]
fn registry_crates_are_not_edges() {
    let metadata = serde_json::json!({"packages": [{
        "name": "functions", "manifest_path": "/w/functions/Cargo.toml",
        "dependencies": [{"name": "gateway", "kind": null, "source": "registry"}],
    }]});
    assert_eq!(
        wrong_edges(&serde_json::from_value(metadata).unwrap()),
        Vec::<String>::new()
    );
}

#[test]
fn unsafe_is_found_as_code_only() {
    let source = r##"
// unsafe in a comment
/* unsafe /* nested unsafe */ still unsafe */
const A: &str = "unsafe \" unsafe";
const B: &str = r#"unsafe " unsafe"#;
const C: char = '"'; fn unsafe_code<'a>(x: &'a str) {}
fn f() { unsafe { g() } }
#[unsafe(no_mangle)]
"##;
    assert_eq!(keyword::lines_with(source, "unsafe"), [7, 8]);
}

#[test]
fn unsafe_has_one_home() {
    assert!(is_home(Path::new("sandbox/src/sys.rs")));
    assert!(is_home(Path::new("sandbox/src/sys/clone.rs")));
    assert!(!is_home(Path::new("sandbox/src/system.rs")));
    assert!(!is_home(Path::new("gateway/src/sys/clone.rs")));
    assert!(is_home(Path::new("tests/abuse/probe/src/sys.rs")));
    assert!(!is_home(Path::new("tests/abuse/probe/src/kernel.rs")));
}

#[test]
fn unsafe_elsewhere_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let sys = dir.path().join("sandbox/src/sys");
    std::fs::create_dir_all(&sys).unwrap();
    std::fs::write(sys.join("a.rs"), "unsafe fn a() {}\n").unwrap();
    std::fs::write(dir.path().join("sandbox/src/b.rs"), "fn b() {\n    unsafe { a() }\n}\n").unwrap();
    let wrong = unsafe_outside_home(dir.path(), &dir.path().join("sandbox")).unwrap();
    assert_eq!(wrong, ["sandbox/src/b.rs:2: unsafe code outside sandbox/src/sys"]);
}
