//! The members of JSON objects as rows: content, output and analytics, and what differs between two of them.

use std::cmp::Ordering;

use performer_core::model::json::{Members, Scalar};

use super::html::visible;

/// What kind of value a member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemberKind {
    Text,
    Number,
    /// `true`, `false`, `null`, or what is no object.
    Other,
}

impl MemberKind {
    /// The class of its cell.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Other => "other",
        }
    }
}

/// One member of an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    /// As it was written: a number has all its digits.
    pub(super) value: String,
    pub(super) kind: MemberKind,
}

impl Member {
    /// Whether it is so long that a reader scrolls in it.
    pub(super) fn is_long(&self) -> bool {
        const LONG: usize = 1_500;
        self.value.len() > LONG
    }
}

/// The members of an object, by name. What is no object is one member without a name.
pub(super) fn members(json: &str) -> Vec<Member> {
    let Ok(members) = Members::read(json) else {
        return vec![Member { name: String::new(), value: visible(json), kind: MemberKind::Other }];
    };
    let member = |(name, value): (&str, &serde_json::value::RawValue)| {
        let (value, kind) = match Scalar::read(value.get()) {
            Ok(Scalar::Text(text)) => (visible(&text), MemberKind::Text),
            Ok(Scalar::Number(number)) => (number.get().to_owned(), MemberKind::Number),
            _ => (visible(value.get()), MemberKind::Other),
        };
        Member { name: visible(name), value, kind }
    };
    let mut members: Vec<Member> = members.iter().map(member).collect();
    members.sort_by(|one, other| one.name.cmp(&other.name)); // as they are shown
    members
}

/// A member in two objects.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) name: String,
    /// `None`: the first object does not have it.
    pub(super) before: Option<String>,
    /// `None`: the second object does not have it.
    pub(super) after: Option<String>,
}

/// The members that differ between two objects, by name.
pub(super) fn differences(before: &str, after: &str) -> Vec<Difference> {
    let (before, after) = (members(before), members(after));
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    let mut found = Vec::new();
    // Both are sorted by name.
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return found,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) => before.name.cmp(&after.name),
        };
        let before = if order == Ordering::Greater { None } else { before.next() };
        let after = if order == Ordering::Less { None } else { after.next() };
        let name = before.or(after).map(|member| member.name.clone()).unwrap_or_default();
        let difference = Difference { name, before: before.map(shown), after: after.map(shown) };
        if difference.before != difference.after {
            found.push(difference);
        }
    }
}

/// A text has quotation marks where it stands beside a number.
fn shown(member: &Member) -> String {
    if member.kind == MemberKind::Text { format!("\"{}\"", member.value) } else { member.value.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_digits_and_show_what_is_hidden() {
        let found = members(r#"{"n":9007199254740993,"x":1.10,"t":"a\u0000<b>","z":null,"b":true}"#);
        let texts: Vec<_> =
            found.iter().map(|member| (&*member.name, &*member.value, member.kind.class())).collect();
        assert_eq!(
            texts,
            [
                ("b", "true", "other"),
                ("n", "9007199254740993", "number"),
                ("t", "a␀<b>", "text"),
                ("x", "1.10", "number"),
                ("z", "null", "other"),
            ]
        );
        assert_eq!(
            members("[1]"),
            [Member { name: String::new(), value: "[1]".to_owned(), kind: MemberKind::Other }]
        );
    }

    #[test]
    fn a_difference_is_a_member_that_is_not_the_same() {
        let pair = |name: &str, before: Option<&str>, after: Option<&str>| Difference {
            name: name.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        assert_eq!(
            differences(r#"{"a":1,"b":"1","c":"x","d":2}"#, r#"{"a":1,"b":1,"c":"y","e":3}"#),
            [
                pair("b", Some("\"1\""), Some("1")),
                pair("c", Some("\"x\""), Some("\"y\"")),
                pair("d", Some("2"), None),
                pair("e", None, Some("3")),
            ]
        );
        assert_eq!(differences("{}", "{}"), []);
        assert_eq!(differences("[1]", "[1]"), [], "what is no object");
        // In one pass: content has tens of thousands of members.
        let many = |last: &str| {
            let members: Vec<String> = (0..30_000).map(|n| format!("\"m{n}\":{n}")).collect();
            format!("{{{},\"z\":{last}}}", members.join(","))
        };
        assert_eq!(differences(&many("1"), &many("2")), [pair("z", Some("1"), Some("2"))]);
    }
}
