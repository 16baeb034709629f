//! Which symbolic links may be in a bundle.
//!
//! A target stays in the bundle for sure if it first goes up, at most to the top, and then only down. The
//! directory of the link is a real one, because nothing is ever placed through a link, so going up from it
//! means what it says. Going down may lead through other links, which lead nowhere else by the same rule. A
//! target that goes up after it went down has no such proof: if `x/y/up` is a link to `../..`, which is the
//! top, then `x/y/up/../..` is above the top, although its words lead to `x`.

use super::Refusal;
use super::refusal::shown;

/// Checks the target of the link `path`, which lies `depth` directories below the top.
pub(super) fn check(path: &[u8], depth: usize, target: &[u8], limit: usize) -> Result<(), Refusal> {
    if target.is_empty() || target.contains(&0) {
        return Err(Refusal::LinkBroken { path: shown(path) });
    }
    if target.len() > limit {
        return Err(Refusal::PathTooLong {
            path: shown(target),
            length: target.len() as u64,
            limit,
        });
    }
    if target[0] == b'/' {
        return Err(Refusal::LinkAbsolute {
            path: shown(path),
            target: shown(target),
        });
    }
    let (mut up, mut down) = (0, 0);
    for part in target
        .split(|byte| *byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
    {
        match part {
            b".." if up + 1 > depth && down == 0 => {
                return Err(Refusal::LinkOutside {
                    path: shown(path),
                    target: shown(target),
                });
            }
            b".." if down > 0 => {
                // Which of the two it is depends on where the words lead if no link is on the way.
                let words = target.split(|byte| *byte == b'/');
                return Err(match leaves(words, depth) {
                    true => Refusal::LinkOutside {
                        path: shown(path),
                        target: shown(target),
                    },
                    false => Refusal::LinkDetour {
                        path: shown(path),
                        target: shown(target),
                    },
                });
            }
            b".." => up += 1,
            _ => down += 1,
        }
    }
    Ok(())
}

/// Whether the words go above the top at any point, starting `depth` directories below it.
fn leaves<'t>(words: impl Iterator<Item = &'t [u8]>, mut depth: usize) -> bool {
    for word in words.filter(|word| !matches!(*word, b"" | b".")) {
        match (word, depth) {
            (b"..", 0) => return true,
            (b"..", _) => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(depth: usize, target: &str) -> &'static str {
        check(b"link", depth, target.as_bytes(), 100).map_or_else(|refusal| refusal.code(), |()| "ok")
    }

    #[test]
    fn targets_go_up_to_the_top_and_then_down() {
        for (depth, target) in [
            (0, "a"),
            (0, "a/b"),
            (0, "."),
            (0, "./a//b/"),
            (1, ".."),
            (2, "../../a"),
            (1, "./../a"),
        ] {
            assert_eq!(code(depth, target), "ok", "{depth} {target}");
        }
    }

    #[test]
    fn other_targets_each_have_their_refusal() {
        for (depth, target, refusal) in [
            (0, "/etc/passwd", "bundle_link_absolute"),
            (0, "..", "bundle_link_outside"),
            (1, "../..", "bundle_link_outside"),
            (0, "a/../../b", "bundle_link_outside"),
            (0, "a/../b", "bundle_link_detour"),
            (2, "../a/..", "bundle_link_detour"),
            (0, "", "bundle_link_broken"),
            (0, "a\0b", "bundle_link_broken"),
        ] {
            assert_eq!(code(depth, target), refusal, "{depth} {target}");
        }
        assert_eq!(code(0, &"a".repeat(101)), "bundle_path_too_long");
    }
}
