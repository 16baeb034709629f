//! Which functions a source file gives to the Functions Framework, read from its words.

/// Names of Python functions that stand below a decorator of the framework.
pub(super) fn python(source: &str) -> Vec<&str> {
    let mut names = Vec::new();
    if !source.contains("functions_framework") {
        return names;
    }
    let mut decorated = false;
    for line in source.lines() {
        if let Some(decorator) = line.strip_prefix('@') {
            let called = decorator.split(['(', ' ', '#']).next().unwrap_or_default();
            decorated |= matches!(called.rsplit('.').next(), Some("http" | "cloud_event" | "typed"));
            continue;
        }
        let line = line.strip_prefix("async ").unwrap_or(line).trim_start();
        if let Some(rest) = line.strip_prefix("def ").filter(|_| decorated) {
            names.extend(
                rest.trim_start()
                    .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                    .next(),
            );
        }
        decorated = false;
    }
    names
}

/// Names under which a script of Node registers functions.
pub(super) fn node(source: &str) -> Vec<&str> {
    let mut names = Vec::new();
    if !source.contains("@google-cloud/functions-framework") {
        return names;
    }
    for call in ["http(", "cloudEvent("] {
        for (at, _) in source.match_indices(call) {
            let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
            if source[..at].ends_with(is_word) {
                continue;
            }
            let rest = source[at + call.len()..].trim_start();
            let Some(quote) = rest.chars().next().filter(|c| matches!(c, '\'' | '"' | '`')) else {
                continue;
            };
            let name = rest[1..].split(quote).next().unwrap_or_default();
            if !name.is_empty() && name.chars().all(|c| is_word(c) || c == '-') && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decorators_of_python_mark_functions() {
        let source = "import functions_framework\n\n@functions_framework.http\ndef one(request):\n    pass\n\n\
            @functions_framework.cloud_event\n@other\nasync def two(event):\n    pass\n\n@other\ndef three(): pass\n\n\
            @functions_framework.typed(Order)\ndef four(order): pass\n\n@functions_framework.http\nx = 1\ndef five(): pass\n";
        assert_eq!(python(source), ["one", "two", "four"]);
        assert!(python(&source.replace("functions_framework", "other_framework")).is_empty());
    }

    #[test]
    fn registrations_of_node_name_functions() {
        let source = "const functions = require('@google-cloud/functions-framework');\nfunctions.http('one', f);\n\
            functions.cloudEvent(\n  \"two-b\", g);\nhttp(`three`, h);\nfunctions.http('one', f);\nmyhttp('four');\nfunctions.http(name);\n\
            functions.http('a b', f); functions.http(";
        assert_eq!(node(source), ["one", "three", "two-b"]);
        assert!(node(&source.replace("@google", "@other")).is_empty());
    }
}
