//! The page `docs/fn-toml.md`, written from [`KEYS`].

use std::fmt::Write;

use super::keys::{KEYS, Key, Kind};

/// The text of `docs/fn-toml.md`: every key with its type, default and bounds.
pub fn reference() -> String {
    let mut page = String::from(HEAD);
    for key in KEYS {
        let bounds = key
            .bounds
            .map(|bounds| format!("{} to {}", bounds.least, bounds.most))
            .unwrap_or_default();
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {bounds} | {} |",
            key.name,
            kind(key.kind),
            key.default.map(|default| format!("`{default}`")).unwrap_or_default(),
            key.doc,
        );
    }
    page.push_str("\n## Why the bounds are there\n\n");
    for Key { name, bounds, .. } in KEYS {
        if let Some(bounds) = bounds {
            let _ = writeln!(page, "* `{name}`: {}", bounds.why);
        }
    }
    page.push_str(TAIL);
    page
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Span => "duration".to_owned(),
        Kind::Whole => "whole number".to_owned(),
        Kind::Decimal => "number".to_owned(),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Word(words) => words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(" or "),
        Kind::WholeOrWord(words) => words
            .iter()
            .map(|word| format!("`{word}`"))
            .chain(["whole number".to_owned()])
            .collect::<Vec<_>>()
            .join(" or "),
        Kind::List => "list of texts".to_owned(),
        Kind::Table => "table of texts".to_owned(),
    }
}

const HEAD: &str = "\
# fn.toml

<!-- Written from the table in functions/src/manifest/keys.rs. After a change there:
     FN_UPDATE_DOCS=1 cargo test -p functions manifest::reference -->

A function needs no `fn.toml`: what its files say and the defaults below are enough for most. Where there is
one, it stands at the top of the directory, every key in it is optional, and a key that is not listed here is
an error. `fn deploy --set KEY=VALUE` sets any of them for one deploy and wins over the file.

| key | type | default | from, to | what it is for |
|---|---|---|---|---|
";

const TAIL: &str = "
## How values are written

* A size is a whole number or a decimal with a unit: `\"256MiB\"` (1024 x 1024 bytes), `\"64MB\"` (1000 x 1000 bytes),
  `\"1.5GiB\"`. A number alone is bytes.
* A duration is a whole number or a decimal with a unit: `\"500ms\"`, `\"30s\"`, `\"1.5m\"`, `\"2h\"`, `\"1d\"`. A number
  alone is an error.
* A key with a point stands in the section before the point: `scale.max` is `max` in `[scale]`.
* With `--set`, texts need no quotes: `--set memory=512MiB`, `--set scale.max=4`, `--set env.LEVEL=debug`. Lists and
  tables are written as in the file: `--set 'stdio.args=[\"-v\", \"--fast\"]'`.

## An example

```toml
name = \"thumbnails\"
runtime = \"python\"
handler = \"app.handler\"
memory = \"512MiB\"
timeout = \"10s\"

[scale]
max = 4
keep = \"nothing\"

[env]
LEVEL = \"debug\"
```
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Manifest;

    #[test]
    fn the_page_in_docs_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/fn-toml.md");
        let page = reference();
        if std::env::var_os("FN_UPDATE_DOCS").is_some_and(|value| value == "1") {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs")).unwrap();
            std::fs::write(path, &page).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == page,
            "docs/fn-toml.md is not current; run `FN_UPDATE_DOCS=1 cargo test -p functions manifest::reference`"
        );
    }

    #[test]
    fn the_example_of_the_page_is_valid() {
        let page = reference();
        let example = page
            .split("```toml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .unwrap();
        let manifest = Manifest::from_toml(example).unwrap();
        assert_eq!(manifest.scale.max, Some(4));
    }
}
