//! The examples that the demonstration deploys: what each is asked, and what its answer must contain.

/// The example that cargo has to build first; what is deployed is the executable.
pub(super) const RUST: &str = "hello-rust";

/// One example of `functions/examples`.
#[derive(Clone, Copy)]
pub(super) struct Example {
    /// The name it is deployed under.
    pub(super) name: &'static str,
    /// Its directory.
    pub(super) dir: &'static str,
    /// The path below the function.
    pub(super) path: &'static str,
    /// Further arguments of curl.
    pub(super) curl: &'static [&'static str],
    /// Text that the reply must contain, in a header or in the body.
    pub(super) answers: &'static str,
    /// Whether a warm call is answered by the same process: `stdio` starts one for each call in the same slot.
    pub(super) keeps_its_process: bool,
    /// Whether the load test compares its cold and warm calls.
    pub(super) compared: bool,
}

/// An argument of curl that is replaced by the name of a file with a small image.
pub(super) const IMAGE: &str = "@IMAGE";

pub(super) const EXAMPLES: &[Example] = &[
    Example {
        name: "hello-python",
        dir: "hello-python",
        path: "?name=Ada",
        curl: &[],
        answers: "Hello, Ada!",
        keeps_its_process: true,
        compared: true,
    },
    Example {
        name: "hello-node",
        dir: "hello-node",
        path: "?name=Ada",
        curl: &[],
        answers: "Hello, Ada!",
        keeps_its_process: true,
        compared: true,
    },
    Example {
        name: "hello-shell",
        dir: "hello-shell",
        path: "",
        curl: &["--data", "Ada"],
        answers: "Hello, Ada! You sent a POST",
        keeps_its_process: false,
        compared: true,
    },
    Example {
        name: "hello-http",
        dir: "hello-http",
        path: "/a/b?name=Ada",
        curl: &[],
        answers: "Hello, Ada!",
        keeps_its_process: true,
        compared: false,
    },
    Example {
        name: "hello-openfaas",
        dir: "hello-openfaas",
        path: "",
        curl: &["--data", "Ada"],
        answers: "Hello, Ada!",
        keeps_its_process: true,
        compared: false,
    },
    Example {
        name: "hello-lambda",
        dir: "hello-lambda",
        path: "?name=Ada",
        curl: &[],
        answers: "Hello, Ada!",
        keeps_its_process: true,
        compared: false,
    },
    Example {
        name: "hello-fdk",
        dir: "hello-fdk",
        path: "",
        curl: &["--data", "Ada"],
        answers: "Hello, Ada!",
        keeps_its_process: true,
        compared: false,
    },
    Example {
        name: RUST,
        dir: RUST,
        path: "",
        curl: &["--data", "Ada"],
        answers: "Hello, Ada! You sent a POST",
        keeps_its_process: false,
        compared: true,
    },
    Example {
        name: "resize-python",
        dir: "resize-python",
        path: "?width=16&height=16",
        curl: &["--data-binary", IMAGE, "--header", "content-type: image/bmp"],
        answers: "x-size: 16x16",
        keeps_its_process: true,
        compared: false,
    },
    Example {
        name: "api-node",
        dir: "api-node",
        path: "/versions/1.2.3",
        curl: &[],
        answers: r#""next":"1.2.4""#,
        keeps_its_process: true,
        compared: false,
    },
];

/// An uncompressed image of 64 by 64 grey pixels, as the BMP format has it: two headers, then the rows.
pub(super) fn image() -> Vec<u8> {
    const SIDE: u32 = 64;
    const HEADERS: u32 = 14 + 40;
    let pixels = SIDE * SIDE * 3;
    let mut bytes = b"BM".to_vec();
    for field in [
        HEADERS + pixels,
        0,
        HEADERS,
        40,
        SIDE,
        SIDE,
        1 | 24 << 16,
        0,
        pixels,
        2835,
        2835,
        0,
        0,
    ] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.resize((HEADERS + pixels) as usize, 0x80);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_has_the_size_it_says() {
        let image = image();
        assert_eq!(image.len(), 54 + 64 * 64 * 3);
        assert_eq!(image[2..6], u32::try_from(image.len()).unwrap().to_le_bytes());
    }

    #[test]
    fn no_two_examples_share_a_name() {
        let mut names: Vec<_> = EXAMPLES.iter().map(|example| example.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), EXAMPLES.len());
    }
}
