//! How a function is named in the Lambda API: by name, by partial ARN or by full ARN, each with or without a qualifier.
//!
//! Pure. The region and the account of an ARN are not compared: this server is one account in every region.

use std::fmt;
use std::str::FromStr;

use functions::FunctionName;

use super::fault::Fault;

/// The region in every ARN, and in what `fn aws-env` prints.
pub(crate) const REGION: &str = "us-east-1";
/// The account in every ARN.
pub(crate) const ACCOUNT: &str = "000000000000";
/// How the live revision is called.
pub(crate) const LATEST: &str = "$LATEST";

/// Which revision of a function is meant.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) enum Qualifier {
    /// The live one.
    #[default]
    Latest,
    /// A published version.
    Version(u64),
    /// An alias.
    Alias(String),
}

/// A function, and maybe a qualifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The function.
    pub(crate) name: FunctionName,
    /// As it was given; `None` when nothing was.
    pub(crate) qualifier: Option<Qualifier>,
}

impl Address {
    /// Reads a name of any form, and the `Qualifier` beside it.
    pub(crate) fn read(text: &str, qualifier: Option<&str>) -> Result<Self, Fault> {
        let parts: Vec<&str> = text.split(':').collect();
        let (name, inner) = match parts.as_slice() {
            [name] => (*name, None),
            [name, inner] => (*name, Some(*inner)),
            // 123456789012:function:NAME[:QUALIFIER]
            [_, "function", name] => (*name, None),
            [_, "function", name, inner] => (*name, Some(*inner)),
            ["arn", _, "lambda", _, _, "function", name] => (*name, None),
            ["arn", _, "lambda", _, _, "function", name, inner] => (*name, Some(*inner)),
            _ => {
                return Err(Fault::invalid(format!(
                    "{:?} is no function name, no partial ARN and no ARN of a function",
                    functions::one_line(text, 200)
                )));
            }
        };
        let name = name
            .parse()
            .map_err(|error: functions::name::NameError| Fault::invalid(format!("{error}. {}", error.hint())))?;
        let given = match (inner, qualifier) {
            (Some(inner), Some(beside)) if inner != beside => {
                return Err(Fault::invalid(format!(
                    "the name says the qualifier {inner} and the parameter Qualifier says {beside}"
                )));
            }
            (inner, beside) => beside.or(inner),
        };
        Ok(Self {
            name,
            qualifier: given.map(Qualifier::from_str).transpose()?,
        })
    }

    /// The qualifier, the live revision without one.
    pub(crate) fn qualifier(&self) -> Qualifier {
        self.qualifier.clone().unwrap_or_default()
    }

    /// The ARN, with the qualifier as it was given.
    pub(crate) fn arn(&self) -> String {
        match &self.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", function_arn(&self.name)),
            None => function_arn(&self.name),
        }
    }
}

/// The ARN of a function.
pub(crate) fn function_arn(name: &FunctionName) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
}

/// Checks the name of an alias: 1 to 128 letters, digits, `-` and `_`, not all digits.
pub(crate) fn alias_name(text: &str) -> Result<&str, Fault> {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if plain && (1..=128).contains(&text.len()) && !text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(text)
    } else {
        Err(Fault::invalid(format!(
            "{:?} is no name of an alias: 1 to 128 letters, digits, - and _, not digits alone",
            functions::one_line(text, 200)
        )))
    }
}

impl FromStr for Qualifier {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if text == LATEST {
            return Ok(Self::Latest);
        }
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            // A number beyond is one that no version has, which is found out where versions are.
            return Ok(Self::Version(text.parse().unwrap_or(u64::MAX)));
        }
        alias_name(text).map(|name| Self::Alias(name.to_owned()))
    }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str(LATEST),
            Self::Version(number) => number.fmt(f),
            Self::Alias(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_function_has_many_names() {
        let full = "arn:aws:lambda:eu-west-1:123456789012:function:hello";
        for (text, beside, qualifier) in [
            ("hello", None, None),
            ("hello:live", None, Some(Qualifier::Alias("live".into()))),
            ("hello", Some("7"), Some(Qualifier::Version(7))),
            ("hello:7", Some("7"), Some(Qualifier::Version(7))),
            ("123456789012:function:hello", None, None),
            ("123456789012:function:hello:$LATEST", None, Some(Qualifier::Latest)),
            (full, None, None),
            (full, Some("$LATEST"), Some(Qualifier::Latest)),
            (&format!("{full}:a-b_c"), None, Some(Qualifier::Alias("a-b_c".into()))),
        ] {
            let address = Address::read(text, beside).unwrap();
            assert_eq!(address.name.as_str(), "hello", "{text}");
            assert_eq!(address.qualifier, qualifier, "{text}");
        }
        let address = Address::read("hello:live", None).unwrap();
        assert_eq!(
            address.arn(),
            "arn:aws:lambda:us-east-1:000000000000:function:hello:live"
        );
    }

    #[test]
    fn what_is_no_name_says_why() {
        for (text, beside, reason) in [
            ("Hello", None, "lower case"),
            ("a:b:c", None, "no partial ARN"),
            ("arn:aws:s3:::bucket", None, "no partial ARN"),
            ("arn:aws:s3:r:a:function:hello", None, "no partial ARN"),
            ("hello:1", Some("2"), "Qualifier says 2"),
            ("hello", Some("a b"), "no name of an alias"),
            ("hello", Some(""), "no name of an alias"),
        ] {
            let fault = Address::read(text, beside).unwrap_err();
            assert!(fault.message().contains(reason), "{text}: {}", fault.message());
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_harmless(text in "\\PC{0,120}", beside in proptest::option::of("\\PC{0,20}")) {
            if let Ok(address) = Address::read(&text, beside.as_deref()) {
                let arn = address.arn();
                prop_assert!(arn.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:$".contains(&b)), "{}", arn);
            }
        }
    }
}
