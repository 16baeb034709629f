//! A spawner in a directory of its own, and short ways to run something in a sandbox.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::unistd::Uid;
use sandbox::detect::{Request, detect};
use sandbox::{
    CgroupTree, GroupName, LayerName, Limits, Obituary, Plan, Program, Restrictions, Rootfs, Sandbox, Spawner,
    SpawnerConfig, privileges,
};

/// What all tests of this process share: privileges are dropped once, before anything is started.
struct Setting {
    program: PathBuf,
    tree: CgroupTree,
    _dir: tempfile::TempDir,
}

fn setting() -> &'static Setting {
    static SETTING: OnceLock<Setting> = OnceLock::new();
    SETTING.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("spawner");
        // Elsewhere than where it was built, a spawner has to be named.
        let built = std::env::var_os("FN_TEST_SPAWNER").unwrap_or_else(|| env!("CARGO_BIN_EXE_spawner").into());
        fs::copy(built, &program).unwrap();
        for path in [dir.path(), program.as_path()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let name = format!("fn-test-{}", std::process::id());
        let user = Uid::effective()
            .is_root()
            .then(|| privileges::choose(Some("nobody")).unwrap());
        let owner = user.as_ref().map(|user| (user.uid, user.gid));
        let found = detect(&Request {
            root: None,
            name: &name,
            owner,
        })
        .unwrap();
        if let Some(user) = user {
            privileges::become_user(&user).unwrap();
        }
        privileges::raise_open_files();
        Setting {
            program,
            tree: found.tree,
            _dir: dir,
        }
    })
}

/// The spawner of one test, with one empty layer and one that holds a file.
pub(crate) struct House {
    pub(crate) spawner: Spawner,
    pub(crate) layer: LayerName,
    dir: tempfile::TempDir,
    /// A spawner removes what it finds in its cgroup subtree at its start, so there is one at a time.
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

/// Waits until no other test has a spawner.
pub(crate) async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    let alone = ALONE.lock().await;
    setting();
    alone
}

/// What a spawner in `dir` is started with.
pub(crate) fn config(dir: &Path) -> SpawnerConfig {
    let setting = setting();
    SpawnerConfig {
        entry: "__spawner".into(),
        program: Some(setting.program.clone()),
        mount_point: dir.join("root"),
        layers: dir.join("layers"),
        files: Vec::new(),
        tree: setting.tree.clone(),
        subordinate: sandbox::report::subordinate_ids(),
        switches: sandbox::Switches::default(),
        watch: sandbox::Watch {
            exec: true,
            connect: true,
            refused: true,
        },
    }
}

static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

impl House {
    pub(crate) async fn new() -> Self {
        let alone = alone().await;
        let dir = tempfile::tempdir().unwrap();
        let layer = LayerName::new("ab".repeat(32)).unwrap();
        for sub in ["root", "layers"] {
            fs::create_dir(dir.path().join(sub)).unwrap();
        }
        let tree = dir.path().join("layers").join(layer.as_str());
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("code.txt"), "the code\n").unwrap();
        let spawner = Spawner::start(config(dir.path())).await.unwrap();
        Self {
            spawner,
            layer,
            dir,
            _alone: alone,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn plan(&self, argv: &[&str]) -> Plan {
        Plan {
            group: GroupName::new("test").unwrap(),
            hostname: "inside".into(),
            limits: Limits {
                memory: 64 << 20,
                cpu_millis: 1000,
                pids: 32,
            },
            tmp_bytes: 4 << 20,
            rootfs: Rootfs::ReadOnly,
            restrictions: Restrictions::default(),
            layers: vec![self.layer.clone()],
            program: Program::Exec,
            argv: argv.iter().map(|a| (*a).to_owned()).collect(),
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            cwd: "/function".into(),
            lanes: 1,
            listen: None,
            outlets: Vec::new(),
            terminable: false,
            watch: sandbox::Watch::default(),
        }
    }

    /// Runs a shell script to its end; the text is what it wrote to standard output and error.
    pub(crate) async fn sh(&self, script: &str) -> (String, Obituary) {
        self.run(&self.plan(&["/bin/sh", "-c", script])).await
    }

    pub(crate) async fn run(&self, plan: &Plan) -> (String, Obituary) {
        let mut sandbox = self.spawner.launch(plan).await.unwrap();
        let log = sandbox.take_log().unwrap();
        let obituary = sandbox.gone().await;
        (read_all(log), obituary)
    }
}

/// Everything in a pipe whose writers are gone.
pub(crate) fn read_all(log: std::os::fd::OwnedFd) -> String {
    let mut text = String::new();
    rustix::io::ioctl_fionbio(&log, false).unwrap();
    fs::File::from(log).read_to_string(&mut text).unwrap();
    text
}

/// Whether limits can be set here; a test of limits that can't says so.
pub(crate) fn limits_are_enforced() -> bool {
    let missing = setting().tree.missing();
    if !missing.is_empty() {
        crate::skip::record(&format!("this user can't limit {missing:?} here"));
    }
    missing.is_empty()
}

/// The directories in which leaves are made.
pub(crate) fn leaves() -> Vec<PathBuf> {
    let tree = &setting().tree;
    [&tree.memory, &tree.cpu, &tree.pids]
        .into_iter()
        .flatten()
        .map(|h| h.dir.join("test"))
        .collect()
}

pub(crate) async fn launch(house: &House, plan: &Plan) -> Sandbox {
    house.spawner.launch(plan).await.unwrap()
}

/// Runs `script` in Python.
pub(crate) async fn python(house: &House, script: &str) -> (String, Obituary) {
    house.run(&house.plan(&["/usr/bin/python3", "-c", script])).await
}

/// The group of all sandboxes in the unified hierarchy, where there is one of ours.
pub(crate) fn unified_group() -> Option<PathBuf> {
    let freezer = setting().tree.freezer.as_ref()?;
    (freezer.version == sandbox::cgroup::Version::V2).then(|| freezer.dir.join("test"))
}

/// Reads until `expected` has come.
pub(crate) fn wait_for(log: &std::os::fd::OwnedFd, expected: &str) {
    rustix::io::ioctl_fionbio(log, false).unwrap();
    let mut read = vec![0; expected.len()];
    fs::File::from(log.try_clone().unwrap()).read_exact(&mut read).unwrap();
    assert_eq!(String::from_utf8(read).unwrap(), expected);
}

/// Processes with a given parent, and the letter of their state.
pub(crate) fn children(parent: i32) -> Vec<(i32, char)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name in brackets may hold anything.
        let Some((pid, rest)) = stat
            .split_once(' ')
            .zip(stat.rsplit_once(") "))
            .map(|(a, b)| (a.0, b.1))
        else {
            continue;
        };
        let mut fields = rest.split(' ');
        let (state, of) = (fields.next().unwrap(), fields.next().unwrap());
        if of == parent.to_string() {
            found.push((pid.parse().unwrap(), state.chars().next().unwrap()));
        }
    }
    found
}
