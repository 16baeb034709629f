//! The functions of a run. Each answers with its own name, the tag of the code that ran, and the token of the caller, many times over: a
//! body of another function, of another caller or of another revision is seen at once, and so is a body that was cut.

use tests::Source;

/// How often the line is repeated. More than one read of a socket, and little work.
const LINES: usize = 500;

/// One way to run a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A Python handler, forked from a template.
    Python,
    /// A Node handler, in a parked process.
    Node,
    /// A program, one process for each call.
    Stdio,
    /// A server of its own.
    Http,
    /// A runtime of Lambda.
    Lambda,
}

impl Way {
    /// Every way.
    pub(super) const ALL: &[Self] = &[Self::Python, Self::Node, Self::Stdio, Self::Http, Self::Lambda];

    /// The name of its function.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Python => "chaos-python",
            Self::Node => "chaos-node",
            Self::Stdio => "chaos-stdio",
            Self::Http => "chaos-http",
            Self::Lambda => "chaos-lambda",
        }
    }

    /// Its code with the tag in it.
    pub(super) fn source(self, tag: u64) -> Source {
        let start = format!("{} {tag} ", self.name());
        match self {
            Self::Python => Source::python(&format!(
                "def handler(event, context):\n    return {{'statusCode': 200, 'body': ('{start}' + event['rawQueryString'] + '\\n') * {LINES}}}\n"
            )),
            Self::Node => Source::node(&format!(
                "export const handler = async (event) => ({{ statusCode: 200, body: ('{start}' + event.rawQueryString + '\\n').repeat({LINES}) }});\n"
            )),
            Self::Stdio => Source::shell(&format!("yes \"{start}$QUERY_STRING\" | head -n {LINES}")),
            Self::Http => Source::empty()
                .file("Procfile", "web: python3 app.py\n")
                .file("app.py", filled(include_str!("app.py"), &start)),
            Self::Lambda => Source::empty().executable("bootstrap", filled(include_str!("bootstrap.py"), &start)),
        }
    }

    /// The tag in a body that belongs to this function and this token; what is wrong with it else.
    pub(super) fn tag(self, token: &str, body: &str) -> Result<u64, String> {
        let line = body.lines().next().unwrap_or_default();
        let mut words = line.split(' ');
        let tag = match (words.next(), words.next().map(str::parse), words.next(), words.next()) {
            (Some(name), Some(Ok(tag)), Some(seen), None) if name == self.name() && seen == token => tag,
            _ => return Err(format!("{} was asked with {token}, and said: {line:?}", self.name())),
        };
        if body.len() != (line.len() + 1) * LINES || body.lines().any(|other| other != line) {
            let (name, lines) = (self.name(), body.lines().count());
            return Err(format!(
                "{name} was asked with {token}, and said {lines} lines of {LINES}, {} bytes",
                body.len()
            ));
        }
        Ok(tag)
    }
}

fn filled(code: &str, start: &str) -> String {
    code.replace("@START@", start).replace("@LINES@", &LINES.to_string())
}

#[test]
fn what_is_not_the_callers_own_is_told_apart() {
    let body = "chaos-node 3 t1\n".repeat(LINES);
    assert_eq!(Way::Node.tag("t1", &body), Ok(3));
    for (way, token, body) in [
        (Way::Python, "t1", body.as_str()),
        (Way::Node, "t2", &body),
        (Way::Node, "t1", &body[..body.len() - 1]),
        (Way::Node, "t1", ""),
        (
            Way::Node,
            "t1",
            &body.replacen("node 3 t1\nchaos", "node 4 t1\nchaos", 1),
        ),
    ] {
        assert!(way.tag(token, body).is_err(), "{way:?} {token}");
    }
}
