//! `performer item history` and `performer item diff`: what happened to an item, and what differs between two attempts.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use performer_core::model::difference::{Difference, ItemDifferences};
use performer_core::model::history::ItemEvent;
use performer_core::model::item::QueueItem;
use performer_core::model::key::ItemId;
use performer_core::model::review::Comment;
use serde::Serialize;

use super::super::GlobalArgs;
use super::super::output::{self, CliError, Column, CommandResult, ListOutput};
use super::masked::Masks;

/// Show what happened to an item and the other attempts of its chain: events and comments, oldest first
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer item history 17\n  \
performer item history 17 --time relative\n  \
performer item history 17 -o jsonl")]
pub(in super::super) struct History {
    /// The id of the item
    id: i64,
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Show what differs between two attempts: content, output, analytics, and how they were processed
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer item diff 17\n  \
performer item diff 17 42\n  \
performer item diff 17 42 --json")]
pub(in super::super) struct Diff {
    /// The id of an item
    id: i64,
    /// The id of another item [default: the attempt before it in its chain]
    other: Option<i64>,
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// An event or a comment.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Happening {
    timestamp: Timestamp,
    queue_item_id: ItemId,
    /// An event of the API, or Comment.
    action: String,
    status: Option<String>,
    review_status: Option<String>,
    user_id: Option<i64>,
    user_name: Option<String>,
    text: Option<String>,
}

impl From<ItemEvent> for Happening {
    fn from(event: ItemEvent) -> Self {
        Self {
            timestamp: event.timestamp,
            queue_item_id: event.item_id,
            action: event.action.to_string(),
            status: Some(event.status.to_string()),
            review_status: Some(event.review_status.to_string()),
            user_id: event.user_id,
            user_name: None,
            text: None,
        }
    }
}

impl From<Comment> for Happening {
    fn from(comment: Comment) -> Self {
        Self {
            timestamp: comment.creation_time,
            queue_item_id: comment.item_id,
            action: "Comment".to_owned(),
            status: None,
            review_status: None,
            user_id: comment.author.user_id,
            user_name: comment.author.user_name,
            text: Some(comment.text),
        }
    }
}

const HISTORY: [Column; 7] = [
    Column::plain("TIME"),
    Column::plain("ITEM"),
    Column::plain("EVENT"),
    Column::status("STATUS"),
    Column::status("REVIEW"),
    Column::plain("USER"),
    Column::text("TEXT"),
];

impl History {
    pub(super) async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let orchestrator = self.global.connect().await?;
        let id = ItemId(self.id);
        let events = orchestrator.item_events(id).await?.into_iter().map(Happening::from);
        let comments = orchestrator.comments(id).await?.into_iter().map(Happening::from);
        let mut all: Vec<Happening> = events.chain(comments).collect();
        all.sort_by_key(|happening| happening.timestamp); // a stable sort: events of one moment keep their order
        format.print(&all, &HISTORY, |happening| {
            let user = happening.user_id.map(|id| id.to_string());
            vec![
                output::time(happening.timestamp),
                happening.queue_item_id.to_string(),
                happening.action.clone(),
                happening.status.clone().unwrap_or_default(),
                happening.review_status.clone().unwrap_or_default(),
                happening.user_name.clone().or(user).unwrap_or_default(),
                happening.text.clone().unwrap_or_default(),
            ]
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A difference, and what it is a part of.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Part {
    part: &'static str,
    #[serde(flatten)]
    difference: Difference,
}

impl Diff {
    pub(super) async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let orchestrator = self.global.connect().await?;
        let item = orchestrator.get_queue_item(ItemId(self.id)).await?;
        let (mut before, mut after) = match self.other {
            Some(other) => (item, orchestrator.get_queue_item(ItemId(other)).await?),
            None => (before(orchestrator.processing_history(item.id).await?, &item)?, item),
        };
        let masks = Masks::of(&*orchestrator).await?;
        [&mut before, &mut after].into_iter().try_for_each(|item| masks.mask(item).map(drop))?;
        let found = ItemDifferences::between(&before, &after);
        let part = |part| move |difference| Part { part, difference };
        let fields = found.fields.into_iter().map(part("Item"));
        let content = found.content.into_iter().map(part("Content"));
        let output = found.output.into_iter().map(part("Output"));
        let analytics = found.analytics.into_iter().map(part("Analytics"));
        let parts: Vec<Part> = fields.chain(content).chain(output).chain(analytics).collect();
        let columns =
            [Column::plain("PART"), Column::plain("NAME"), Column::text("BEFORE"), Column::text("AFTER")];
        format.print(&parts, &columns, |Part { part, difference }| {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            vec![
                (*part).to_owned(),
                difference.name.clone(),
                text(&difference.before),
                text(&difference.after),
            ]
        })?;
        if format.has_columns() {
            let what = if parts.is_empty() { "they do not differ" } else { "before and after" };
            output::remark(format!("items {} and {}: {what}", before.id, after.id));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The attempt before an item in its chain.
fn before(chain: Vec<QueueItem>, item: &QueueItem) -> Result<QueueItem, CliError> {
    let earlier = chain.into_iter().rfind(|attempt| attempt.id < item.id);
    earlier.ok_or_else(|| {
        CliError::usage(format!("item {} is the first attempt of its chain; name another item", item.id))
    })
}
