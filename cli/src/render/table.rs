//! Tables for people: aligned columns without lines, which copy and grep well.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

/// A table with a header row. It is as wide as its content, or as the terminal when there is one.
pub(crate) fn columns<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = plain();
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    finish(table)
}

/// One `name  value` line per pair.
pub(crate) fn pairs<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut table = plain();
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    finish(table)
}

/// A JSON value as one cell: text without quotes, nothing as a dash.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) if text.is_empty() => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(fields) if fields.is_empty() => "-".into(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| format!("{key}={}", cell(value)))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    }
}

fn plain() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// The table's text with a newline at its end and no blanks at the ends of lines.
fn finish(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_where_their_text_ends() {
        let text = columns(
            ["NAME", "REVISION"],
            [["a".into(), "1".into()], ["long-name".into(), "12".into()]],
        );
        assert_eq!(text, "NAME       REVISION\na          1\nlong-name  12\n");
    }

    #[test]
    fn pairs_have_no_header() {
        assert_eq!(
            pairs([("name", "hello".to_owned()), ("revision", "3".to_owned())]),
            "name      hello\nrevision  3\n"
        );
    }

    #[test]
    fn cells_show_text_as_text_and_nothing_as_a_dash() {
        assert_eq!(cell(&json!(null)), "-");
        assert_eq!(cell(&json!("text")), "text");
        assert_eq!(cell(&json!([1, "b"])), "1, b");
        assert_eq!(cell(&json!({"warm": 2})), "warm=2");
        assert_eq!(cell(&json!({})), "-");
    }
}
