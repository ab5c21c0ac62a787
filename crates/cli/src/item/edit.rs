//! `performer item edit` and `item correct`: change an item that is New, and retry a failed one with other values.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use performer_core::model::FieldEdit;
use performer_core::model::content::SpecificContent;
use performer_core::model::item::{ItemEdit, Priority, QueueItem};
use performer_core::model::json::{Members, Scalar};
use performer_core::model::key::ItemId;
use performer_core::model::personal::MASK;
use performer_core::model::review::validate_comment;
use performer_tables::time;
use serde_json::value::to_raw_value;

use super::super::GlobalArgs;
use super::super::environment::user_of_machine;
use super::super::output::{self, CliError, CommandResult};
use super::masked::Masks;
use super::pairs;

/// Change the content, priority or dates of an item that is New
#[derive(Args)]
#[command(after_help = "\
NAME=VALUE sets members of the content and keeps the others; a value is parsed as JSON if it is valid JSON. An item that a robot has claimed\n\
meanwhile is not changed. A failed item is not edited: `performer item retry` adds a copy, which is New.\n\n\
Examples:\n  \
performer item edit 17 amount=12.5 currency=EUR\n  \
performer item edit 17 --remove comment --priority High\n  \
performer item edit 17 --content '{\"amount\": 12.5}' --due 2026-12-01\n  \
performer item edit 17 --defer none")]
pub(in super::super) struct Edit {
    /// The id of the item
    id: i64,
    #[command(flatten)]
    change: Change,
    /// The progress text
    #[arg(long, value_name = "TEXT")]
    progress: Option<String>,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Retry a failed item with other content, priority or dates
///
/// A copy with these values is New; the item itself stays as it failed, and `performer item diff` shows what was corrected. Both happen in one
/// commit, on a store and on performer serve: no robot can claim the copy before it has them. A UiPath Orchestrator has no such step.
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer item correct 17 customer=ACME\n  \
performer item correct 17 --content '{\"amount\": 12.5}' --priority High\n  \
performer item correct 17 --remove discount --comment 'the discount was wrong'")]
pub(in super::super) struct Correct {
    /// The id of the item
    id: i64,
    #[command(flatten)]
    change: Change,
    /// A comment on the copy
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    #[command(flatten)]
    global: GlobalArgs,
}

/// What an item becomes.
#[derive(Args)]
struct Change {
    /// A member of the content
    #[arg(value_name = "NAME=VALUE", conflicts_with = "content")]
    pairs: Vec<String>,
    /// The whole content, as a JSON object
    #[arg(long, value_name = "JSON")]
    content: Option<String>,
    /// Remove this member of the content; can be repeated
    #[arg(long, value_name = "NAME", conflicts_with = "content")]
    remove: Vec<String>,
    /// The priority: High, Normal or Low
    #[arg(long, value_name = "PRIORITY")]
    priority: Option<Priority>,
    /// The time before which the item should be handed out, or none
    #[arg(long, value_name = "TIME|none", value_parser = time_or_none)]
    due: Option<FieldEdit<Timestamp>>,
    /// The time before which the item is not handed out, or none
    #[arg(long, value_name = "TIME|none", value_parser = time_or_none)]
    defer: Option<FieldEdit<Timestamp>>,
}

/// A time, or none.
fn time_or_none(text: &str) -> Result<FieldEdit<Timestamp>, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(FieldEdit::Clear);
    }
    time::parse(text).map(FieldEdit::Set)
}

impl Change {
    fn changes_members(&self) -> bool {
        !self.pairs.is_empty() || !self.remove.is_empty()
    }

    /// Whether it keeps parts of the content that the item has.
    fn keeps_members(&self) -> bool {
        self.changes_members() || self.content.as_ref().is_some_and(|content| content.contains(MASK))
    }

    /// The edit, but for members of the content that are set or removed.
    fn to_edit(&self) -> Result<ItemEdit, CliError> {
        let content = self.content.as_deref().map(SpecificContent::from_json).transpose()?;
        Ok(ItemEdit::default()
            .priority(self.priority)
            .due_date(self.due.unwrap_or(FieldEdit::Keep))
            .defer_date(self.defer.unwrap_or(FieldEdit::Keep))
            .specific_content(content))
    }

    /// The edit of an item, whose content is changed member by member. A masked field keeps its value.
    fn of_item(&self, item: &QueueItem, masks: &Masks) -> Result<ItemEdit, CliError> {
        let json = match &self.content {
            _ if !self.keeps_members() => return self.to_edit(),
            Some(content) => content.clone(),
            None => changed(item.specific_content.as_json(), &self.pairs, &self.remove)?,
        };
        Ok(self.to_edit()?.specific_content(masks.restore(item, &json)?))
    }
}

fn print_changed(mut item: QueueItem, masks: &Masks, text: &str) -> CommandResult {
    if output::is_json() {
        masks.mask(&mut item)?;
        output::json(&item)?;
    } else {
        output::line(text)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Edit {
    pub(super) async fn run(self) -> CommandResult {
        let Self { id, change, progress, global } = self;
        let mut edit = change.to_edit()?;
        edit.progress = progress;
        if edit == ItemEdit::default() && !change.changes_members() {
            let message = "nothing to change was given; use NAME=VALUE, --content, --remove, --priority, --due, --defer or --progress";
            return Err(CliError::usage(message));
        }
        let orchestrator = global.connect().await?;
        let masks = Masks::of(&*orchestrator).await?;
        if change.keeps_members() {
            let item = orchestrator.get_queue_item(ItemId(id)).await?;
            edit.specific_content = change.of_item(&item, &masks)?.specific_content;
            // The other members are written as they were read. Over HTTP an edit cannot name a version.
            if !global.is_http()? {
                edit.row_version = Some(item.row_version);
            }
        }
        let edited = orchestrator.edit_queue_item(ItemId(id), edit).await?;
        let text = format!("item {} was changed", edited.id);
        print_changed(edited, &masks, &text)
    }
}

impl Correct {
    pub(super) async fn run(self) -> CommandResult {
        let Self { id, change, comment, global } = self;
        if change.to_edit()? == ItemEdit::default() && !change.changes_members() {
            let message = "nothing to correct was given; use NAME=VALUE, --content, --remove, --priority, --due or --defer";
            return Err(CliError::usage(message));
        }
        comment.as_deref().map_or(Ok(()), validate_comment)?;
        let orchestrator = global.connect().await?;
        let item = orchestrator.get_queue_item(ItemId(id)).await?;
        let masks = Masks::of(&*orchestrator).await?;
        let copy = orchestrator.correct_and_retry(item.version(), change.of_item(&item, &masks)?).await?;
        if let Some(text) = comment {
            orchestrator.add_comment(copy.id, user_of_machine(), text).await.map_err(|error| {
                let message =
                    format!("item {id} is retried as item {}, without the comment: {error}", copy.id);
                CliError::from(error).with_message(message)
            })?;
        }
        let text = format!("item {id} is retried as item {}", copy.id);
        print_changed(copy, &masks, &text)
    }
}

/// The content with other values of some members, and without others.
pub(super) fn changed(content: &str, set: &[String], remove: &[String]) -> Result<String, CliError> {
    let unreadable =
        |error: serde_json::Error| CliError::failed(format!("the content cannot be read: {error}"));
    let mut members = Members::read(content).map_err(unreadable)?;
    for name in remove {
        if members.get(name).is_none() {
            let names: Vec<&str> = members.iter().map(|(name, _)| name).collect();
            let message = format!("the content has no member {name:?}; its members are {}", names.join(", "));
            return Err(CliError::usage(message));
        }
    }
    members.retain(|name| !remove.iter().any(|removed| removed == name));
    let mut all: std::collections::BTreeMap<&str, Scalar> = std::collections::BTreeMap::new();
    for (name, value) in members.iter() {
        all.insert(name, Scalar::read(value.get()).map_err(unreadable)?);
    }
    all.extend(pairs(set)?);
    Ok(to_raw_value(&all).map_err(unreadable)?.get().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_set_and_removed_and_the_others_keep_their_digits() {
        let words = |all: &[&str]| -> Vec<String> { all.iter().map(|word| (*word).to_owned()).collect() };
        let content = r#"{"amount":1.50,"big":12345678901234567890123,"note":"x"}"#;
        assert_eq!(
            changed(content, &words(&["amount=2.50", "new=a b"]), &words(&["note"])).unwrap(),
            r#"{"amount":2.50,"big":12345678901234567890123,"new":"a b"}"#
        );
        let error = changed(content, &[], &words(&["colour"])).unwrap_err().to_string();
        assert!(error.contains("no member \"colour\"; its members are amount, big, note"), "{error}");
        assert!(changed(content, &words(&["amount"]), &[]).is_err());
    }
}
