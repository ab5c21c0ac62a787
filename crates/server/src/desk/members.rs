//! The members of JSON objects as rows of a page, and what differs between two attempts: every character can be seen.

use performer_core::model::difference::{self, MemberKind};

use super::html::visible;

/// One member of an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) value: String,
    /// The class of its cell.
    pub(super) class: &'static str,
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
    let member = |member: difference::Member| Member {
        name: visible(&member.name),
        value: visible(&member.value),
        class: match member.kind {
            MemberKind::Text => "text",
            MemberKind::Number => "number",
            MemberKind::Other => "other",
        },
    };
    difference::members(json).into_iter().map(member).collect()
}

/// A value in two attempts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) name: String,
    /// `None`: the first does not have it.
    pub(super) before: Option<String>,
    /// `None`: the second does not have it.
    pub(super) after: Option<String>,
}

/// Differences as they are shown.
pub(super) fn differences(found: Vec<difference::Difference>) -> Vec<Difference> {
    let shown = |text: Option<String>| text.as_deref().map(visible);
    let difference = |found: difference::Difference| Difference {
        name: visible(&found.name),
        before: shown(found.before),
        after: shown(found.after),
    };
    found.into_iter().map(difference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_differences_show_what_is_hidden() {
        let found = members(r#"{"t":"a\u0000<b>","x":1.10}"#);
        let texts: Vec<_> =
            found.iter().map(|member| (&*member.name, &*member.value, member.class)).collect();
        assert_eq!(texts, [("t", "a␀<b>", "text"), ("x", "1.10", "number")]);
        let found = differences(difference::differences(r#"{"t":"a"}"#, r#"{"t":"\u0000"}"#));
        assert_eq!(found[0].after.as_deref(), Some("\"␀\""));
    }
}
