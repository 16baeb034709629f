use std::collections::HashMap;

use super::*;

impl Env for HashMap<&str, &str> {
    fn var(&self, name: &str) -> Option<OsString> {
        self.get(name).map(OsString::from).filter(|value| !value.is_empty())
    }
}

fn socket(typed: Typed<'_>, env: &[(&str, &str)], who: Who) -> String {
    let env: HashMap<&str, &str> = env.iter().copied().collect();
    admin_socket(typed, &env, who).unwrap().display().to_string()
}

fn state(typed: Typed<'_>, env: &[(&str, &str)], who: Who) -> String {
    let env: HashMap<&str, &str> = env.iter().copied().collect();
    state_dir(typed, &env, who).unwrap().display().to_string()
}

const EVERYTHING: &[(&str, &str)] = &[
    ("FN_ADMIN_SOCKET", "/s/from-env.sock"),
    ("FN_STATE_DIR", "/d/from-env"),
    ("XDG_STATE_HOME", "/xdg"),
    ("HOME", "/home/ada"),
];

#[test]
fn the_state_directory_follows_the_order_of_the_head_of_this_module() {
    let typed = Typed {
        state_dir: Some(Path::new("/d/typed")),
        admin_socket: None,
    };
    assert_eq!(state(typed, EVERYTHING, Who::Ordinary), "/d/typed");
    assert_eq!(state(Typed::default(), EVERYTHING, Who::Ordinary), "/d/from-env");
    assert_eq!(state(Typed::default(), &EVERYTHING[2..], Who::Ordinary), "/xdg/fn");
    assert_eq!(
        state(Typed::default(), &EVERYTHING[3..], Who::Ordinary),
        "/home/ada/.local/state/fn"
    );
}

#[test]
fn root_has_a_place_of_its_own_but_listens_to_fn_state_dir() {
    assert_eq!(state(Typed::default(), &EVERYTHING[2..], Who::Root), "/var/lib/fn");
    assert_eq!(state(Typed::default(), EVERYTHING, Who::Root), "/d/from-env");
    assert_eq!(state(Typed::default(), &[], Who::Root), "/var/lib/fn");
}

#[test]
fn the_socket_lies_beside_the_state_unless_it_is_named() {
    let by_flag = Typed {
        state_dir: None,
        admin_socket: Some(Path::new("/s/typed.sock")),
    };
    let by_state_flag = Typed {
        state_dir: Some(Path::new("/d/typed")),
        admin_socket: None,
    };
    assert_eq!(socket(by_flag, EVERYTHING, Who::Ordinary), "/s/typed.sock");
    assert_eq!(socket(Typed::default(), EVERYTHING, Who::Ordinary), "/s/from-env.sock");
    assert_eq!(
        socket(Typed::default(), &EVERYTHING[1..], Who::Ordinary),
        "/d/from-env/run/admin.sock"
    );
    assert_eq!(
        socket(by_state_flag, &EVERYTHING[1..], Who::Ordinary),
        "/d/typed/run/admin.sock"
    );
    assert_eq!(socket(Typed::default(), &[], Who::Root), "/var/lib/fn/run/admin.sock");
}

#[test]
fn a_named_socket_needs_no_state_directory() {
    let typed = Typed {
        state_dir: None,
        admin_socket: Some(Path::new("/s/typed.sock")),
    };
    assert_eq!(socket(typed, &[], Who::Ordinary), "/s/typed.sock");
}

#[test]
fn empty_variables_and_a_relative_xdg_directory_count_as_not_set() {
    let env = [
        ("FN_STATE_DIR", ""),
        ("XDG_STATE_HOME", "relative"),
        ("HOME", "/home/ada"),
    ];
    assert_eq!(
        state(Typed::default(), &env, Who::Ordinary),
        "/home/ada/.local/state/fn"
    );
}

#[test]
fn relative_paths_become_absolute_so_that_they_survive_a_change_of_directory() {
    let typed = Typed {
        state_dir: Some(Path::new("here")),
        admin_socket: None,
    };
    let expected = std::env::current_dir().unwrap().join("here").display().to_string();
    assert_eq!(state(typed, &[], Who::Ordinary), expected);
}

#[test]
fn without_any_variable_there_is_no_state_directory() {
    let env: HashMap<&str, &str> = HashMap::new();
    assert_eq!(
        state_dir(Typed::default(), &env, Who::Ordinary),
        Err(SettingsError::NoStateDir)
    );
}

#[test]
fn a_socket_path_that_no_socket_can_have_is_refused_with_its_length() {
    let long = format!("/{}", "x".repeat(SOCKET_PATH_MAX));
    let typed = Typed {
        state_dir: None,
        admin_socket: Some(Path::new(&long)),
    };
    let env: HashMap<&str, &str> = HashMap::new();
    let error = admin_socket(typed, &env, Who::Ordinary).unwrap_err();
    assert!(
        matches!(error, SettingsError::SocketPathTooLong { length: 108, .. }),
        "{error}"
    );
}
