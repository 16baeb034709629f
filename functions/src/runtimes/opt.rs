//! Where code finds what its layers put into `/opt`, as "Layer paths for each Lambda runtime" in the AWS Lambda developer guide has it.

use std::collections::BTreeMap;

use super::host::HostRuntimes;

/// Adds the places to the variables that say where things are looked for, each once and behind what is there. Directories with a version in
/// their name are those of the host's interpreters.
pub(super) fn add_places(env: &mut BTreeMap<String, String>, host: &HostRuntimes) {
    add(env, "PATH", "/opt/bin");
    add(env, "LD_LIBRARY_PATH", "/opt/lib");
    if let Ok(python) = &host.python {
        let (major, minor) = (python.version.0, python.version.1);
        let place = format!("/opt/python/lib/python{major}.{minor}/site-packages");
        add(env, "PYTHONPATH", &place);
    }
    add(env, "PYTHONPATH", "/opt/python");
    add(env, "NODE_PATH", "/opt/nodejs/node_modules");
    if let Ok(node) = &host.node {
        let place = format!("/opt/nodejs/node{}/node_modules", node.version.0);
        add(env, "NODE_PATH", &place);
    }
}

fn add(env: &mut BTreeMap<String, String>, name: &str, place: &str) {
    let places = env.entry(name.to_owned()).or_default();
    if places.split(':').any(|there| there == place) {
        return;
    }
    if !places.is_empty() {
        places.push(':');
    }
    places.push_str(place);
}
