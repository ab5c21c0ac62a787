use proptest::prelude::*;

use super::*;

#[test]
fn a_path_leads_into_the_bucket_or_is_refused() {
    for (text, path) in [
        ("a.txt", "a.txt"),
        ("/a.txt", "a.txt"),
        ("reports/2026/a b.pdf", "reports/2026/a b.pdf"),
        ("ä/ü.txt", "ä/ü.txt"),
        ("a..b/..c/d..", "a..b/..c/d.."),
        (".hidden", ".hidden"),
        ("100%.txt", "100%.txt"),
        ("a%20b", "a%20b"),
        ("a#b", "a#b"),
        ("a#1b", "a#1b"),
    ] {
        assert_eq!(FilePath::parse(text).unwrap().as_str(), path, "{text}");
    }
    let long_name = "x".repeat(SEGMENT_LIMIT + 1);
    let long_path = "x/".repeat(PATH_LIMIT / 2) + "xx";
    for text in [
        "",
        "/",
        "//a",
        "//etc/passwd",
        "a//b",
        "a/",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        "/../a",
        "...",
        ".. ",
        "a\\b",
        "..\\a",
        "C:\\a",
        "C:/a",
        "\\\\host\\share",
        "a\0b",
        "a\nb",
        "%2e%2e/a",
        "%2E%2e/a",
        "a/%2e./b",
        "a%2f..%2fb",
        "a%2fb",
        "a%5cb",
        "a%00",
        "%252e%252e/a",
        "%25252e%25252e/a",
        "a%252fb",
        "a%ff",
        "a#1",
        "a#12/b",
        &long_name,
        &long_path,
    ] {
        let refused = FilePath::parse(text).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::INVALID_ARGUMENT, "{text:?}: {refused}");
    }
}

#[test]
fn directories_and_beginnings_have_slashes_at_their_ends_or_not() {
    for text in ["", "/"] {
        assert_eq!(Directory::parse(text).unwrap().as_str(), "");
        assert_eq!(PathPrefix::parse(text).unwrap().as_str(), "");
    }
    for text in ["a/b", "/a/b", "a/b/", "/a/b/"] {
        let directory = Directory::parse(text).unwrap();
        assert_eq!(directory.as_str(), "a/b");
        assert_eq!(directory.rest_of("a/b/c/d"), Some("c/d"));
        assert_eq!(directory.rest_of("a/bc"), None);
    }
    assert_eq!(PathPrefix::parse("/a/b").unwrap().directory(), "a");
    assert_eq!(PathPrefix::parse("/a/b/").unwrap().directory(), "a/b");
    for text in ["..", "//", "a/../b", "%2e%2e/", "a//"] {
        assert!(Directory::parse(text).is_err(), "{text}");
        assert!(PathPrefix::parse(text).is_err(), "{text}");
    }
}

#[test]
fn patterns_match_whole_names() {
    for (pattern, name, matches) in [
        ("*", "a.txt", true),
        ("*.TXT", "a.txt", true),
        ("*.txt", "a.txt.bak", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("a*b*c", "axxbyyc", true),
        ("a*b*c", "axxc", false),
        ("", "", true),
        ("", "a", false),
        ("**", "", true),
    ] {
        assert_eq!(matches_glob(pattern, name), matches, "{pattern} {name}");
    }
    // Not in exponential time.
    assert!(!matches_glob(&"*a".repeat(200), &"a".repeat(199).replace('a', "ab")));
}

#[test]
fn a_type_is_told_by_the_end_of_a_name() {
    assert_eq!(content_type("a/b.PDF"), "application/pdf");
    for other in ["a", "pdf/a", "a.", "a.unknown"] {
        assert_eq!(content_type(other), "application/octet-stream", "{other}");
    }
    assert!(CONTENT_TYPES.is_sorted_by_key(|(end, _)| *end));
}

#[test]
fn what_a_bucket_may_be_called() {
    assert!(NewBucket::new("x".repeat(NAME_LIMIT)).validate().is_ok());
    for (name, code) in [("", 1009), (" ", 1009), ("a\0", 1009), (&*"x".repeat(NAME_LIMIT + 1), 1015)] {
        assert_eq!(NewBucket::new(name).validate().unwrap_err().code().number(), code, "{name:?}");
    }
    let long = NewBucket::new("a").description("x".repeat(DESCRIPTION_LIMIT + 1));
    assert_eq!(long.validate().unwrap_err().code(), ErrorCode::PARAMETER_INVALID);
}

proptest! {
    /// However a text is made of what is dangerous: what is accepted stays below the bucket, also for whoever decodes it once more.
    #[test]
    fn no_path_leads_out_of_the_bucket(parts in prop::collection::vec(
        prop::sample::select(vec![
            "..", ".", "/", "\\", "%2e", "%2f", "%5c", "%25", "%00", "\0", "a", "~", "C:", " ", "#1", "%", "2e", "ä",
        ]),
        0..12,
    )) {
        let text = parts.concat();
        if let Ok(path) = FilePath::parse(&text) {
            let mut decoded = path.as_str().to_owned();
            for _ in 0..4 {
                let root = std::path::Path::new("/files/of/bucket");
                let mut depth = 0;
                for part in std::path::Path::new(&decoded).components() {
                    match part {
                        std::path::Component::Normal(_) => depth += 1,
                        other => prop_assert!(false, "{text:?} has {other:?}"),
                    }
                }
                prop_assert!(depth >= 1 && root.join(&decoded).starts_with(root));
                prop_assert!(!decoded.contains('\\') && !decoded.contains('\0'));
                decoded = percent_decoded(&decoded).unwrap();
            }
        }
    }
}
