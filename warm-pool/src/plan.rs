//! From a revision and the way to launch it to the plan of a sandbox. Nothing here runs anything.

use std::net::Ipv4Addr;
use std::time::Duration;

use functions::network::Network;
use functions::runtimes::{Launch, Program, RUNTIME_API_PORT};
use functions::{Revision, RootfsMode, Runtime, Security};
use sandbox::{GroupName, LayerName, Limits, Outlet, Plan, PlanError, Restrictions, Rootfs};

/// The cgroup of all sandboxes: a slot stands in it before it is anybody's.
pub(crate) const GROUP: &str = "slots";

/// 127.77.0.1, where nothing else listens inside: programs choose 127.0.0.1.
const FIRST_OUTLET: u32 = 0x7f4d_0001;

/// How long a runtime of Lambda may take to end: what Lambda gives one that has an extension.
const LAMBDA_GRACE: Duration = Duration::from_millis(500);

/// How long an instance of `revision` that is let go may take to end after SIGTERM. `None`: it is killed, for what it runs has nothing to end.
pub(crate) fn grace(revision: &Revision) -> Option<Duration> {
    match revision.settings.runtime {
        Runtime::Http => Some(revision.settings.http.grace.duration()),
        Runtime::Lambda => Some(LAMBDA_GRACE),
        Runtime::Python | Runtime::Node | Runtime::Stdio | Runtime::Fdk => None,
    }
}

/// What a sandbox takes away from a function.
///
/// # Errors
/// The first name or path that a sandbox can't take away.
pub fn restrictions(security: &Security) -> Result<Restrictions, PlanError> {
    let mut denied = Vec::with_capacity(security.deny.len() + 1);
    for name in &security.deny {
        denied.push(name.parse()?);
    }
    if !security.network {
        denied.push("group:inet".parse()?);
    }
    let mut read_only = Vec::with_capacity(security.read_only.len());
    for path in &security.read_only {
        read_only.push(path.parse()?);
    }
    Ok(Restrictions {
        denied,
        read_only,
        no_exec: !security.exec_written,
    })
}

/// What a sandbox of `revision` is built from.
pub(crate) fn plan(revision: &Revision, launch: Launch) -> Result<Plan, PlanError> {
    let settings = &revision.settings;
    Ok(Plan {
        group: GroupName::new(GROUP)?,
        hostname: revision.name.to_string(),
        limits: Limits {
            memory: settings.memory.as_u64(),
            cpu_millis: settings.cpu.as_millis(),
            pids: settings.pids,
        },
        tmp_bytes: settings.tmp.as_u64(),
        rootfs: match settings.rootfs {
            RootfsMode::ReadOnly => Rootfs::ReadOnly,
            RootfsMode::Writable => Rootfs::Writable,
        },
        restrictions: restrictions(&settings.security)?,
        layers: vec![LayerName::new(revision.bundle.to_string())?],
        program: match launch.program {
            Program::Exec => sandbox::Program::Exec,
            Program::Resident(name) => sandbox::Program::Resident(name),
        },
        argv: launch.argv,
        env: launch.env,
        cwd: launch.cwd,
        lanes: match settings.runtime {
            Runtime::Python | Runtime::Node | Runtime::Stdio => settings.concurrency,
            Runtime::Http | Runtime::Lambda | Runtime::Fdk => 0,
        },
        listen: (settings.runtime == Runtime::Lambda).then_some(RUNTIME_API_PORT),
        outlets: outlets(&settings.network),
        terminable: grace(revision).is_some(),
        // A build or a check is nobody's: who starts a call says what is to be watched.
        watch: sandbox::Watch::default(),
    })
}

/// A door for each destination, in their order. Each name has an address of its own, as two may be reached at the same port.
fn outlets(network: &Network) -> Vec<Outlet> {
    let mut names: Vec<&str> = Vec::new();
    let mut outlets = Vec::new();
    for to in &network.allow {
        let at = names.iter().position(|name| *name == to.host());
        let at = at.unwrap_or_else(|| {
            names.push(to.host());
            names.len() - 1
        });
        outlets.push(Outlet {
            name: to.host().to_owned(),
            // At most sixteen, see MOST_DESTINATIONS.
            address: Ipv4Addr::from(FIRST_OUTLET + at as u32),
            port: to.port(),
        });
    }
    outlets
}

#[cfg(test)]
mod tests {
    use functions::detect::Detected;
    use functions::runtimes::{HostRuntimes, Interpreter, Version, launch};
    use functions::{Digest, FunctionName, Manifest, RevisionNumber};

    use super::*;

    fn planned(name: &str, toml: &str) -> Plan {
        planned_for(Runtime::Stdio, name, toml).unwrap()
    }

    fn planned_for(runtime: Runtime, name: &str, toml: &str) -> Result<Plan, PlanError> {
        let name: FunctionName = name.parse().unwrap();
        let handler = match runtime {
            Runtime::Python | Runtime::Node => "run.handler",
            _ => "run.sh",
        };
        let detected = Detected {
            runtime,
            handler: handler.into(),
        };
        let revision = Revision {
            settings: Manifest::from_toml(toml).unwrap().resolve(&name, &detected).unwrap(),
            name,
            number: RevisionNumber::FIRST,
            bundle: Digest::of(b"bundle"),
            created: jiff::Timestamp::UNIX_EPOCH,
        };
        let found = Interpreter {
            path: "/nowhere".into(),
            version: Version(30, 0, 0),
        };
        let host = HostRuntimes {
            python: Ok(found.clone()),
            node: Ok(found),
        };
        plan(&revision, launch(&revision, &host).unwrap())
    }

    #[test]
    fn every_setting_arrives() {
        let plan = planned(
            "hello",
            "memory = \"64MiB\"\ncpu = 0.5\npids = 9\ntmp = \"1MiB\"\nrootfs = \"writable\"\nconcurrency = 3\n[env]\nA = \"b\"",
        );
        assert_eq!(plan.check(), Ok(()));
        assert_eq!(
            plan.limits,
            Limits {
                memory: 64 << 20,
                cpu_millis: 500,
                pids: 9
            }
        );
        assert_eq!(
            (plan.tmp_bytes, plan.rootfs, plan.lanes),
            (1 << 20, Rootfs::Writable, 3)
        );
        assert_eq!((plan.hostname.as_str(), plan.group.as_str()), ("hello", GROUP));
        assert_eq!(
            plan.layers,
            [LayerName::new(Digest::of(b"bundle").to_string()).unwrap()]
        );
        assert_eq!(plan.program, sandbox::Program::Resident("stdio".into()));
        assert_eq!(plan.argv, ["/function/run.sh"]);
        assert_eq!(plan.cwd, "/function");
        assert!(plan.env.contains(&("A".into(), "b".into())));
    }

    #[test]
    fn what_a_function_gives_up_arrives() {
        let plan = planned(
            "hello",
            "[security]\ndeny = [\"listen\"]\nread_only = [\"/tmp\"]\nnetwork = false\nexec_written = false",
        );
        let names: Vec<_> = plan.restrictions.denied.iter().map(|denial| denial.as_str()).collect();
        assert_eq!(names, ["listen", "group:inet"]);
        assert_eq!(plan.restrictions.read_only, ["/tmp".parse().unwrap()]);
        assert!(plan.restrictions.no_exec);
        assert!(planned("hello", "").restrictions.is_empty());
    }

    #[test]
    fn the_strict_profile_of_each_runtime_can_be_planned() {
        for runtime in [
            Runtime::Python,
            Runtime::Node,
            Runtime::Stdio,
            Runtime::Http,
            Runtime::Lambda,
            Runtime::Fdk,
        ] {
            let plan = planned_for(runtime, "hello", "[security]\nprofile = \"strict\"").unwrap();
            assert_eq!(plan.check(), Ok(()), "{runtime}");
            assert!(plan.restrictions.no_exec, "{runtime}");
        }
    }

    #[test]
    fn names_and_paths_that_can_not_be_taken_away_are_refused() {
        for (keys, expected) in [
            ("deny = [\"sokcet\"]", "did you mean \"socket\"?"),
            ("deny = [\"execve\"]", "no program starts without execve"),
            ("read_only = [\"tmp\"]", "not absolute"),
            ("read_only = [\"/proc\"]", "belongs to the platform"),
        ] {
            let refused = planned_for(Runtime::Stdio, "hello", &format!("[security]\n{keys}")).unwrap_err();
            assert!(refused.to_string().contains(expected), "{refused}");
        }
    }

    #[test]
    fn each_name_has_an_outlet_at_an_address_of_its_own() {
        let plan = planned(
            "hello",
            "[network]\nallow = [\"a.example:443\", \"b:443\", \"a.example:80\"]",
        );
        assert_eq!(plan.check(), Ok(()));
        let outlets: Vec<_> = plan
            .outlets
            .iter()
            .map(|outlet| format!("{} {}:{}", outlet.name, outlet.address, outlet.port))
            .collect();
        assert_eq!(
            outlets,
            [
                "a.example 127.77.0.1:443",
                "b 127.77.0.2:443",
                "a.example 127.77.0.1:80"
            ]
        );
    }

    #[test]
    fn the_longest_name_fits() {
        let plan = planned(&"a".repeat(63), "");
        assert_eq!(plan.check(), Ok(()));
        assert_eq!(plan.rootfs, Rootfs::ReadOnly);
    }
}
