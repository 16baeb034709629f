//! Programs that start another one: the container runtimes, and the bare interpreters.
//!
//! A start is timed from just before the exec of the runtime to its end has been seen. All of them run the same static binary
//! that exits at once, so that what is timed is the box.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ENV, PeerError, found, write};
use crate::child::{self, Env};
use crate::report::PeerReport;
use crate::series::Series;
use crate::workload;

const TO_PREPARE: Duration = Duration::from_secs(60);

/// How one is prepared.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) name: &'static str,
    what: &'static str,
    pub(super) install: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Bubblewrap,
    Runc,
    Podman,
    Python,
    Node,
}

pub(super) const RECIPES: &[Recipe] = &[
    Recipe {
        name: "bwrap",
        what: "bubblewrap --unshare-all of a static binary",
        install: "apt-get install bubblewrap",
        kind: Kind::Bubblewrap,
    },
    Recipe {
        name: "runc",
        what: "runc run of a static binary, with the specification that `runc spec` makes",
        install: "apt-get install runc",
        kind: Kind::Runc,
    },
    Recipe {
        name: "podman",
        what: "podman run --rm --network none --rootfs of a static binary",
        install: "apt-get install podman",
        kind: Kind::Podman,
    },
    Recipe {
        name: "python3",
        what: "python3 -c pass, without a box",
        install: "apt-get install python3",
        kind: Kind::Python,
    },
    Recipe {
        name: "node",
        what: "node -e 0, without a box",
        install: "apt-get install nodejs",
        kind: Kind::Node,
    },
];

/// One that can be started.
#[derive(Debug)]
pub(super) struct StartPeer {
    pub(super) name: &'static str,
    what: &'static str,
    pub(super) install: &'static str,
    program: PathBuf,
    args: Vec<String>,
    env: Env,
    series: Series,
}

impl Recipe {
    /// Finds it, makes its files below `scratch` and starts it once.
    pub(super) async fn prepare(&self, scratch: &Path) -> Result<StartPeer, PeerError> {
        let program = match self.kind {
            Kind::Bubblewrap => found::program("bwrap"),
            Kind::Runc => found::program("runc"),
            Kind::Podman => found::program("podman"),
            Kind::Python => found::system_program("python3"),
            Kind::Node => found::system_program("node"),
        }?;
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let args = match self.kind {
            Kind::Bubblewrap => words(&["--unshare-all", "--ro-bind", &rootfs(scratch)?, "/", "/exit"]),
            Kind::Runc => runc(&program, scratch).await?,
            Kind::Podman => words(&[
                "run",
                "--rm",
                "--network",
                "none",
                "--rootfs",
                &rootfs(scratch)?,
                "/exit",
            ]),
            Kind::Python => words(&["-c", "pass"]),
            Kind::Node => words(&["-e", "0"]),
        };
        // A variable such as NODE_OPTIONS would make the bare interpreters something else than bare.
        let env = match self.kind {
            Kind::Python | Kind::Node => Env::Bare,
            Kind::Bubblewrap | Kind::Runc | Kind::Podman => ENV,
        };
        let peer = StartPeer {
            env,
            name: self.name,
            what: self.what,
            install: self.install,
            program,
            args,
            series: Series::default(),
        };
        // The first start is often not like the others, and its error has a text.
        child::output_with(&peer.program, &peer.args, peer.env, TO_PREPARE).await?;
        Ok(peer)
    }
}

/// A directory with the static binary, made once.
fn rootfs(scratch: &Path) -> Result<String, PeerError> {
    let root = scratch.join("rootfs");
    let binary = root.join("exit");
    if !binary.exists() {
        let program =
            workload::static_exit().ok_or(PeerError::Lacks("there is no static binary for this kind of processor"))?;
        for dir in ["proc", "dev", "sys"] {
            std::fs::create_dir_all(root.join(dir))?;
        }
        std::fs::write(&binary, program)?;
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(root.to_string_lossy().into_owned())
}

async fn runc(program: &Path, scratch: &Path) -> Result<Vec<String>, PeerError> {
    let rootfs = rootfs(scratch)?;
    let bundle = scratch.join("runc");
    std::fs::create_dir_all(&bundle)?;
    let at = bundle.to_string_lossy().into_owned();
    let mut spec = vec!["spec", "--bundle", &at];
    if !rustix::process::geteuid().is_root() {
        spec.push("--rootless");
    }
    child::output_with(program, &spec, ENV, TO_PREPARE).await?;
    let path = bundle.join("config.json");
    write(&path, &specification(&std::fs::read_to_string(&path)?, &rootfs)?)?;
    let state = scratch.join("runc-state").to_string_lossy().into_owned();
    let name = format!("loadtest-{}", std::process::id());
    Ok(vec!["--root".into(), state, "run".into(), "--bundle".into(), at, name])
}

/// The specification of `runc spec`, but without a terminal and with our binary.
fn specification(made: &str, rootfs: &str) -> Result<String, PeerError> {
    let wrong = |_| PeerError::Lacks("`runc spec` made something else than JSON");
    let mut spec: serde_json::Value = serde_json::from_str(made).map_err(wrong)?;
    spec["process"]["terminal"] = false.into();
    spec["process"]["args"] = serde_json::json!(["/exit"]);
    spec["root"] = serde_json::json!({ "path": rootfs, "readonly": true });
    Ok(spec.to_string())
}

impl StartPeer {
    /// One start.
    pub(super) fn once(&mut self) -> Result<(), PeerError> {
        self.series
            .add(child::time_to_exit(&self.program, &self.args, self.env)?);
        Ok(())
    }

    pub(super) fn end_round(&mut self) {
        self.series.end_round();
    }

    pub(super) fn report(&self) -> Option<PeerReport> {
        Some(PeerReport {
            name: self.name.to_owned(),
            what: self.what.to_owned(),
            times: self.series.summary()?,
            served: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_runs_our_binary() {
        let made = r#"{"ociVersion":"1.0","process":{"terminal":true,"args":["sh"]},"root":{"path":"rootfs"}}"#;
        let spec: serde_json::Value = serde_json::from_str(&specification(made, "/tmp/root").unwrap()).unwrap();
        assert_eq!(spec["process"]["terminal"], false);
        assert_eq!(spec["process"]["args"][0], "/exit");
        assert_eq!(spec["root"]["path"], "/tmp/root");
        assert_eq!(spec["ociVersion"], "1.0");
        assert!(specification("nonsense", "/").is_err());
    }

    #[tokio::test]
    async fn an_interpreter_is_timed_where_it_is_installed() {
        let dir = tempfile::tempdir().unwrap();
        let python = RECIPES.iter().find(|recipe| recipe.name == "python3").unwrap();
        match python.prepare(dir.path()).await {
            Ok(mut peer) => {
                peer.once().unwrap();
                peer.end_round();
                assert_eq!(peer.report().unwrap().times.count, 1);
            }
            Err(error) => assert!(matches!(error, PeerError::Absent(_)), "{error}"),
        }
    }
}
