//! A spawner, a directory of layers, and functions in it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use functions::detect::Detected;
use functions::runtimes::{HostRuntimes, base_files};
use functions::{Digest, FunctionName, Manifest, Revision, RevisionNumber, Runtime};
use nix::unistd::Uid;
use sandbox::cgroup::detect::{Request, detect};
use sandbox::{BaseFile, CgroupTree, Spawner, SpawnerConfig, privileges};
use tempfile::TempDir;
use warm_pool::{LogRecord, LogSink, Pool, PoolConfig, Reclaim};

use crate::SPAWNER;

/// What has to be done while there is one thread, and as root if that is who started us.
pub(crate) struct Setting {
    program: PathBuf,
    pub(crate) tree: CgroupTree,
    dir: TempDir,
}

/// Finds the cgroups and becomes an unprivileged user.
pub(crate) fn prepare() -> Setting {
    let dir = TempDir::new().unwrap();
    let program = dir.path().join("spawner");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let user = Uid::effective()
        .is_root()
        .then(|| privileges::choose(Some("nobody")).unwrap());
    for sub in ["root", "layers"] {
        std::fs::create_dir(dir.path().join(sub)).unwrap();
    }
    for path in [dir.path(), &program] {
        open_to_all(path);
    }
    if let Some(user) = &user {
        for path in [
            dir.path().to_owned(),
            dir.path().join("root"),
            dir.path().join("layers"),
        ] {
            std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
    }
    let name = format!("fn-pool-test-{}", std::process::id());
    let owner = user.as_ref().map(|user| (user.uid, user.gid));
    let tree = detect(&Request {
        root: None,
        name: &name,
        owner,
    })
    .unwrap()
    .tree;
    if let Some(user) = user {
        privileges::become_user(&user).unwrap();
    }
    Setting { program, tree, dir }
}

fn open_to_all(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Keeps every line with its request.
#[derive(Default)]
pub(crate) struct Log(pub(crate) Mutex<Vec<(Option<String>, String)>>);

impl LogSink for Log {
    fn record(&self, record: &LogRecord<'_>) {
        self.0
            .lock()
            .unwrap()
            .push((record.request_id.map(str::to_owned), record.text.to_owned()));
    }
}

pub(crate) struct House<'a> {
    pub(crate) pool: Pool,
    pub(crate) log: Arc<Log>,
    setting: &'a Setting,
}

impl House<'_> {
    pub(crate) async fn open(setting: &Setting) -> House<'_> {
        let files = base_files().into_iter().map(|file| BaseFile {
            path: file.path.into(),
            mode: file.mode,
            contents: std::str::from_utf8(file.contents).unwrap().into(),
        });
        let spawner = Spawner::start(SpawnerConfig {
            entry: SPAWNER.into(),
            program: Some(setting.program.clone()),
            mount_point: setting.dir.path().join("root"),
            layers: setting.dir.path().join("layers"),
            files: files.collect(),
            tree: setting.tree.clone(),
            subordinate: sandbox::report::subordinate_ids(),
            switches: sandbox::Switches::default(),
            watch: sandbox::Watch::default(),
        })
        .await
        .unwrap();
        let log = Arc::new(Log::default());
        let pool = Pool::start(PoolConfig {
            spawner,
            runtimes: HostRuntimes::find(),
            logs: log.clone(),
            reclaim: Reclaim::default(),
            rules: warm_pool::watch::Rules::none(),
            egress_allow: Vec::new(),
        });
        House { pool, log, setting }
    }

    /// A revision of one file.
    pub(crate) fn deploy(&self, name: &str, runtime: Runtime, toml: &str, code: &str) -> Arc<Revision> {
        let (file, handler) = match runtime {
            Runtime::Python => ("handler.py", "handler.handler"),
            Runtime::Node => ("index.mjs", "index.handler"),
            Runtime::Stdio | Runtime::Http | Runtime::Lambda | Runtime::Fdk => ("run.sh", "run.sh"),
        };
        let name: FunctionName = name.parse().unwrap();
        let bundle = Digest::of(format!("{name}{code}").as_bytes());
        let layer = self.setting.dir.path().join("layers").join(bundle.to_string());
        std::fs::create_dir_all(&layer).unwrap();
        std::fs::write(layer.join(file), code).unwrap();
        open_to_all(&layer);
        open_to_all(&layer.join(file));
        let detected = Detected {
            runtime,
            handler: handler.into(),
        };
        Arc::new(Revision {
            settings: Manifest::from_toml(toml).unwrap().resolve(&name, &detected).unwrap(),
            name,
            number: RevisionNumber::FIRST,
            bundle,
            created: jiff::Timestamp::UNIX_EPOCH,
        })
    }
}
