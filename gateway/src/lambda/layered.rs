//! A function's code with its layers, as the one bundle that runs: the layers lie in it where a sandbox shows them at `/opt`.
//!
//! So a revision stays one immutable tree with one digest. A layer costs its bytes once more for each function that uses it, and nothing at a
//! start. What is read was promised, so it stays whole when its layer or function is deleted meanwhile.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::Arc;

use functions::Store;
use functions::bundle::{self, BundleError, LAYERS_DIR};
use functions::store::StoreError;

use super::fault::Fault;
use super::promise::Promise;

/// Where the code comes from.
pub(super) enum Code<'a> {
    /// A zip that was sent.
    Zip(&'a [u8]),
    /// A bundle, without its layers.
    Of(Promise),
}

/// Where the layers come from.
pub(super) enum Layers {
    /// These, the later ones over the earlier.
    These(Vec<Promise>),
    /// Those of a bundle.
    Of(Promise),
}

/// Makes a bundle of both, promised to one deploy. Blocks.
pub(super) fn assemble(store: &Arc<Store>, code: &Code<'_>, layers: &Layers) -> Result<Promise, Fault> {
    let scratch = store.scratch_dir();
    let failed = |source| writing(&scratch, source);
    let dir = tempfile::tempdir_in(&scratch).map_err(failed)?;
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).map_err(failed)?;
    let opt = tree.join(LAYERS_DIR);
    match code {
        Code::Zip(zip) => {
            let file = dir.path().join("zip");
            std::fs::write(&file, zip).map_err(failed)?;
            bundle::from_zip(&file, &tree).map_err(|error| Fault::from_bundle(&error))?;
            if opt.symlink_metadata().is_ok() {
                return Err(Fault::invalid(format!(
                    "the zip has {LAYERS_DIR}, which is where layers are kept; send those as Layers"
                )));
            }
        }
        Code::Of(bundle) => {
            merge(&store.layer(&bundle.bundle()), &tree)?;
            if opt.is_dir() {
                std::fs::remove_dir_all(&opt).map_err(failed)?;
            }
        }
    }
    match layers {
        Layers::These(layers) => {
            for layer in layers {
                merge(&store.layer(&layer.bundle()), &opt)?;
            }
        }
        Layers::Of(bundle) => {
            let kept = store.layer(&bundle.bundle()).join(LAYERS_DIR);
            if kept.is_dir() {
                merge(&kept, &opt)?;
            }
        }
    }
    packed(store, &tree)
}

fn packed(store: &Arc<Store>, tree: &Path) -> Result<Promise, Fault> {
    let scratch = store.scratch_dir();
    let failed = |source| writing(&scratch, source);
    let mut archive: File = tempfile::tempfile_in(&scratch).map_err(failed)?;
    bundle::pack(tree, &archive).map_err(|error| Fault::from_bundle(&error))?;
    archive.flush().and_then(|()| archive.rewind()).map_err(failed)?;
    Ok(Promise::made(store, store.add_bundle(archive)?.digest))
}

fn merge(from: &Path, to: &Path) -> Result<(), Fault> {
    bundle::merge(from, to).map_err(|error| Fault::from_bundle(&error))
}

fn writing(path: &Path, source: std::io::Error) -> Fault {
    Fault::from(StoreError::from(BundleError::Write {
        path: path.to_owned(),
        source,
    }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use functions::layers::LayerLabels;

    use super::*;

    fn added(store: &Arc<Store>, files: &[(&str, &str)]) -> Promise {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        packed(store, dir.path()).unwrap()
    }

    fn again(store: &Arc<Store>, promise: &Promise) -> Promise {
        Promise::of(store, promise.bundle()).unwrap()
    }

    #[test]
    fn code_and_layers_are_changed_one_without_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("state")).unwrap());
        let code = added(&store, &[("app.py", "code")]);
        let (a, b) = (
            added(&store, &[("bin/a", "a"), ("same", "a")]),
            added(&store, &[("bin/b", "b"), ("same", "b")]),
        );
        let own = Code::Of(again(&store, &code));
        let both = assemble(&store, &own, &Layers::These(vec![a, b])).unwrap();
        let read = |promise: &Promise, path: &str| {
            fs::read_to_string(store.layer(&promise.bundle()).join(path)).unwrap_or_default()
        };
        let opt = |promise: &Promise, path: &str| read(promise, &format!("{LAYERS_DIR}/{path}"));
        assert_eq!(read(&both, "app.py"), "code");
        assert_eq!(["bin/a", "bin/b", "same"].map(|path| opt(&both, path)), ["a", "b", "b"]);
        let other = Code::Of(added(&store, &[("app.py", "other")]));
        let changed = assemble(&store, &other, &Layers::Of(again(&store, &both))).unwrap();
        assert_eq!(
            (read(&changed, "app.py"), opt(&changed, "bin/b")),
            ("other".into(), "b".into())
        );
        let without = assemble(&store, &Code::Of(both), &Layers::These(Vec::new())).unwrap();
        assert_eq!(without.bundle(), code.bundle(), "the same tree is the same bundle");
        let same = assemble(&store, &own, &Layers::Of(again(&store, &code))).unwrap();
        assert_eq!(same.bundle(), code.bundle());
        assert_eq!(fs::read_dir(store.scratch_dir()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn a_layer_that_is_deleted_meanwhile_stays_whole_until_it_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("state")).unwrap());
        let layer = added(&store, &[("tool", "tool")]);
        let (name, labels) = ("tools".parse().unwrap(), LayerLabels::default());
        store.publish_layer(&name, layer.bundle(), &labels).unwrap();
        let bundle = layer.bundle();
        layer.taken_up();
        let held = Promise::of(&store, bundle).unwrap();
        assert!(store.remove_layer_version(&name, 1).unwrap());
        let code = Code::Of(added(&store, &[("app.py", "code")]));
        let made = assemble(&store, &code, &Layers::These(vec![held])).unwrap();
        let tool = store.layer(&made.bundle()).join(LAYERS_DIR).join("tool");
        assert_eq!(fs::read_to_string(&tool).unwrap(), "tool");
        assert!(Promise::of(&store, bundle).is_none(), "nobody needs the layer any more");
        drop(made);
        assert!(!tool.exists(), "nor what no deploy took up");
    }
}
