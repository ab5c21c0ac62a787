//! What differs between two attempts, or two JSON objects: member by member, with all digits of their numbers.

use std::cmp::Ordering;

use jiff::SignedDuration;
use serde::Serialize;
use serde_json::value::RawValue;

use super::item::QueueItem;
use super::json::{Members, Scalar};

/// One member of a JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its value: the characters of a text, and anything else as it was written.
    pub value: String,
    /// What its value is.
    pub kind: MemberKind,
}

/// What the value of a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A text.
    Text,
    /// A number.
    Number,
    /// `true`, `false`, `null`, an array or an object.
    Other,
}

/// The members of an object, by name. What is no object is one member without a name.
pub fn members(json: &str) -> Vec<Member> {
    let Ok(members) = Members::read(json) else {
        return vec![Member { name: String::new(), value: json.to_owned(), kind: MemberKind::Other }];
    };
    let member = |(name, value): (&str, &RawValue)| {
        let (value, kind) = match Scalar::read(value.get()) {
            Ok(Scalar::Text(text)) => (text, MemberKind::Text),
            Ok(Scalar::Number(number)) => (number.get().to_owned(), MemberKind::Number),
            _ => (value.get().to_owned(), MemberKind::Other),
        };
        Member { name: name.to_owned(), value, kind }
    };
    members.iter().map(member).collect() // they are sorted by name
}

/// What two values of the same name are, where they differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Difference {
    /// The name of the member, or of the field of the item.
    pub name: String,
    /// The value of the first; a text of a member has quotation marks. `None`: it has none.
    pub before: Option<String>,
    /// The value of the second.
    pub after: Option<String>,
}

/// The members that differ between two objects, by name.
pub fn differences(before: &str, after: &str) -> Vec<Difference> {
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
        let difference = Difference { name, before: before.map(quoted), after: after.map(quoted) };
        if difference.before != difference.after {
            found.push(difference);
        }
    }
}

/// A text has quotation marks where it stands beside a number.
fn quoted(member: &Member) -> String {
    if member.kind == MemberKind::Text { format!("\"{}\"", member.value) } else { member.value.clone() }
}

/// What differs between two attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ItemDifferences {
    /// How they were processed: status, exception, reason, duration, robot, priority, dates.
    pub fields: Vec<Difference>,
    /// Their SpecificContent.
    pub content: Vec<Difference>,
    /// Their output; an attempt without one has no members.
    pub output: Vec<Difference>,
    /// Their analytics.
    pub analytics: Vec<Difference>,
}

impl ItemDifferences {
    /// What differs from one attempt to another.
    pub fn between(before: &QueueItem, after: &QueueItem) -> Self {
        let output =
            |item: &QueueItem| item.output.as_ref().map_or("{}", |output| output.as_json()).to_owned();
        let analytics =
            |item: &QueueItem| item.analytics.as_ref().map_or("{}", |all| all.as_json()).to_owned();
        Self {
            fields: fields(before, after),
            content: differences(before.specific_content.as_json(), after.specific_content.as_json()),
            output: differences(&output(before), &output(after)),
            analytics: differences(&analytics(before), &analytics(after)),
        }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        [&self.fields, &self.content, &self.output, &self.analytics].iter().all(|part| part.is_empty())
    }
}

/// How long an attempt took.
pub fn duration_of(item: &QueueItem) -> Option<SignedDuration> {
    Some(item.end_processing?.duration_since(item.start_processing?))
}

fn fields(before: &QueueItem, after: &QueueItem) -> Vec<Difference> {
    type Of = fn(&QueueItem) -> Option<String>;
    let took: Of = |item| {
        let took = duration_of(item)?;
        Some(format!("{:#}", SignedDuration::from_millis(took.as_millis().try_into().unwrap_or(i64::MAX))))
    };
    let all: [(&str, Of); 10] = [
        ("Status", |item| Some(item.status.to_string())),
        ("Review", |item| Some(item.review_status.to_string())),
        ("Exception", |item| item.exception_type().map(|kind| kind.to_string())),
        ("Reason", |item| item.processing_exception.as_ref().map(|exception| exception.reason.clone())),
        ("Took", took),
        ("Robot", |item| item.robot.map(|robot| robot.to_string())),
        ("Priority", |item| Some(item.priority.to_string())),
        ("Reference", |item| item.reference.clone()),
        ("Due", |item| item.due_date.map(|at| at.to_string())),
        ("Postponed until", |item| item.defer_date.map(|at| at.to_string())),
    ];
    let difference =
        |(name, of): (&str, Of)| Difference { name: name.to_owned(), before: of(before), after: of(after) };
    all.into_iter().map(difference).filter(|found| found.before != found.after).collect()
}

#[cfg(test)]
mod tests {
    use super::super::content::SpecificContent;
    use super::super::key::{ItemId, ItemKey, QueueId};
    use super::super::new_item::NewQueueItem;
    use super::*;

    #[test]
    fn members_keep_their_digits() {
        let found = members(r#"{"n":9007199254740993,"x":1.10,"t":"a<b>","z":null,"b":true}"#);
        let texts: Vec<_> = found.iter().map(|member| (&*member.name, &*member.value, member.kind)).collect();
        assert_eq!(
            texts,
            [
                ("b", "true", MemberKind::Other),
                ("n", "9007199254740993", MemberKind::Number),
                ("t", "a<b>", MemberKind::Text),
                ("x", "1.10", MemberKind::Number),
                ("z", "null", MemberKind::Other),
            ]
        );
        let no_object = Member { name: String::new(), value: "[1]".to_owned(), kind: MemberKind::Other };
        assert_eq!(members("[1]"), [no_object]);
    }

    fn pair(name: &str, before: Option<&str>, after: Option<&str>) -> Difference {
        let owned = |text: &str| text.to_owned();
        Difference { name: owned(name), before: before.map(owned), after: after.map(owned) }
    }

    #[test]
    fn a_difference_is_a_member_that_is_not_the_same() {
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

    #[test]
    fn attempts_differ_in_their_content_and_in_how_they_were_processed() {
        let now = jiff::Timestamp::from_second(1_790_000_000).unwrap();
        let new = NewQueueItem::new(serde_json::json!({ "amount": 1 }));
        let key = ItemKey::from_bytes([7; 16]);
        let content = new.content().unwrap().clone();
        let mut one = QueueItem::new(ItemId(1), key, QueueId(1), content, now);
        let mut other = one.clone();
        assert!(ItemDifferences::between(&one, &other).is_empty());
        other.specific_content = SpecificContent::from_json(r#"{"amount":2}"#).unwrap();
        other.start_processing = Some(now);
        other.end_processing = Some(now + SignedDuration::from_millis(1_500));
        one.robot = Some(3);
        let found = ItemDifferences::between(&one, &other);
        assert_eq!(found.content, [pair("amount", Some("1"), Some("2"))]);
        assert_eq!(found.fields[0].name, "Took");
        assert_eq!(found.fields[0].after.as_deref(), Some("1s 500ms"));
        assert_eq!(found.fields[1], pair("Robot", Some("3"), None));
        assert!(found.output.is_empty() && found.analytics.is_empty());
    }
}
