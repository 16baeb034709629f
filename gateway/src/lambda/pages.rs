//! Lists that come page by page. Pure.
//!
//! A marker is the key of the last item that was told, so a list that changes between two pages neither repeats nor skips what stayed.

use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::Fault;

/// Most items of one page, whatever is asked for.
const MOST: usize = 50;

/// Which page is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Page {
    /// Where the last page ended.
    marker: Option<String>,
    /// At most so many; 1 to 10,000.
    max_items: Option<usize>,
}

/// One page of `all`, which is in the order of its keys, and the marker of the next one if there is more.
pub(super) fn cut<T>(all: Vec<T>, page: &Page, key: impl Fn(&T) -> String) -> Result<(Vec<T>, Option<String>), Fault> {
    let most = page.max_items.unwrap_or(MOST);
    if !(1..=10_000).contains(&most) {
        return Err(Fault::invalid(format!(
            "MaxItems is {most}, but it must be from 1 to 10000"
        )));
    }
    // An item that is gone meanwhile still says where to go on, as long as the order is that of the keys.
    let from = match &page.marker {
        Some(marker) if !marker.is_empty() => all
            .iter()
            .position(|item| key(item) == *marker)
            .map_or_else(|| all.partition_point(|item| key(item) <= *marker), |at| at + 1),
        _ => 0,
    };
    let mut rest: Vec<T> = all.into_iter().skip(from).collect();
    let shown = most.min(MOST);
    let more = rest.len() > shown;
    rest.truncate(shown);
    let next = rest.last().filter(|_| more).map(&key);
    Ok((rest, next))
}

/// The document of a page.
pub(super) fn document(name: &str, items: Vec<Value>, next: Option<String>) -> Value {
    let mut document = json!({ name: items });
    if let Some(next) = next {
        document["NextMarker"] = json!(next);
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(marker: Option<&str>, max_items: Option<usize>) -> Page {
        Page {
            marker: marker.map(str::to_owned),
            max_items,
        }
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let all: Vec<String> = (0..120).map(|n| format!("{n:03}")).collect();
        let (mut seen, mut marker, mut pages) = (Vec::new(), None, 0);
        loop {
            let (shown, next) = cut(all.clone(), &page(marker.as_deref(), None), Clone::clone).unwrap();
            seen.extend(shown);
            pages += 1;
            marker = next;
            if marker.is_none() {
                break;
            }
        }
        assert_eq!((seen, pages), (all.clone(), 3));
        assert_eq!(
            cut(all.clone(), &page(Some("0015"), Some(1)), Clone::clone).unwrap().0,
            ["002"]
        );
        for most in [0, 10_001] {
            assert!(cut(all.clone(), &page(None, Some(most)), Clone::clone).is_err());
        }
        assert_eq!(
            cut(all, &page(Some("120"), None), Clone::clone).unwrap(),
            (vec![], None)
        );
    }
}
