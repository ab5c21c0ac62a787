//! `performer item`: adds, lists, shows and retries items.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::GlobalArgs;
use super::import::Import;
use super::output::{self, CliError, CommandResult};
use super::up_to;
use performer_core::model::item::{
    ItemFilter, NewQueueItem, PAGE_LIMIT, Page, Priority, QueueItem, ReferenceFilter,
};
use performer_core::model::json::Scalar;
use performer_core::model::key::ItemId;
use performer_core::model::list::MAX_SKIP;
use performer_core::model::status::{ReviewStatus, Status};
use performer_tables::time;

/// Add, import, list, show and retry items
#[derive(Subcommand)]
pub(super) enum Item {
    Add(Add),
    Import(Box<Import>),
    List(List),
    Show(Show),
    Retry(Retry),
}

/// Add an item to a queue
#[derive(Args)]
#[command(after_help = "\
The content is a JSON object, or pairs of names and values; a value is parsed as JSON if it is valid JSON:\n  \
  performer item add Invoices --reference INV-17 --content '{\"amount\": 10.5, \"customer\": \"ACME\"}'\n  \
  performer item add Invoices --reference INV-17 amount=10.5 customer=ACME")]
pub(super) struct Add {
    /// The name of the queue
    queue: String,
    /// A member of the content
    #[arg(value_name = "NAME=VALUE", conflicts_with = "content")]
    pairs: Vec<String>,
    /// The content, as a JSON object
    #[arg(long, value_name = "JSON")]
    content: Option<String>,
    /// The reference of the item
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    /// The group of the item, such as a customer; see `performer queue limit --per-group`
    #[arg(long, value_name = "TEXT")]
    group: Option<String>,
    /// The priority: High, Normal or Low
    #[arg(long, default_value = "Normal", value_name = "PRIORITY")]
    priority: Priority,
    /// The time before which the item should be handed out, such as 2026-09-01, 2026/09/01 14:30 or
    /// 2026-09-01T14:30:00+02:00; UTC if it has no offset
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    due: Option<Timestamp>,
    /// The time before which the item is not handed out
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    defer: Option<Timestamp>,
    #[command(flatten)]
    global: GlobalArgs,
}

/// List items
#[derive(Args)]
pub(super) struct List {
    /// List only the items of this queue
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// List only items with this status; can be repeated
    #[arg(long, value_name = "STATUS")]
    status: Vec<Status>,
    /// List only items with this review status; can be repeated
    #[arg(long, value_name = "STATUS")]
    review: Vec<ReviewStatus>,
    /// List only items with this reference, or with this prefix if it ends with *
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    /// The maximum number of items
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = up_to(1_000_000))]
    top: usize,
    /// The number of items to skip
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(0..=MAX_SKIP as u64))]
    skip: usize,
    /// List the oldest items first
    #[arg(long)]
    oldest: bool,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Show an item and all attempts of its retry chain
#[derive(Args)]
pub(super) struct Show {
    /// The id of the item
    id: i64,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Retry failed or abandoned items; a copy of each is added to its queue
#[derive(Args)]
pub(super) struct Retry {
    /// The ids of the items
    #[arg(required_unless_present = "all_failed")]
    ids: Vec<i64>,
    /// Retry all failed items of a queue that are not reviewed yet
    #[arg(long, value_name = "QUEUE", conflicts_with = "ids")]
    all_failed: Option<String>,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Item {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::Add(add) => add.run().await,
            Self::Import(import) => import.run().await,
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Retry(retry) => retry.run().await,
        }
    }
}

impl Add {
    async fn run(self) -> CommandResult {
        let item = match &self.content {
            Some(text) => NewQueueItem::from_json(text),
            None => NewQueueItem::new(pairs(&self.pairs)?),
        };
        let mut item = item.priority(self.priority);
        if let Some(reference) = self.reference {
            item = item.reference(reference);
        }
        if let Some(group) = self.group {
            item = item.group(group);
        }
        if let Some(due) = self.due {
            item = item.due_date(due);
        }
        if let Some(defer) = self.defer {
            item = item.defer_date(defer);
        }
        let added = self.global.connect().await?.add_queue_item(&self.queue, item).await?;
        if self.global.json {
            output::json(&added)?;
        } else {
            output::line(format!("item {} was added", added.id))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn pairs(pairs: &[String]) -> Result<BTreeMap<&str, Scalar>, CliError> {
    let mut members = BTreeMap::new();
    for pair in pairs {
        let wrong = || CliError::usage(format!("{pair:?} is not of the form name=value"));
        let (name, value) = pair.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
        let value = match Scalar::read(value) {
            Ok(value) if !matches!(value, Scalar::Nested(_)) => value,
            _ => Scalar::from(value),
        };
        if members.insert(name, value).is_some() {
            return Err(CliError::usage(format!("{name:?} is given twice")));
        }
    }
    Ok(members)
}

impl List {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let reference = self.reference.map(|text| match text.strip_suffix('*') {
            Some(start) => ReferenceFilter::StartsWith(start.to_owned()),
            None => ReferenceFilter::Equals(text),
        });
        let mut filter =
            ItemFilter::default().status(self.status).review_status(self.review).reference(reference);
        filter.queue = self.queue;
        let mut items = Vec::new();
        let (mut count, mut counted, mut after, mut skip) = (0, String::new(), None, self.skip.min(MAX_SKIP));
        while items.len() < self.top {
            let top = (self.top - items.len()).min(PAGE_LIMIT);
            let page = Page::first(top).after(after).skip(skip).descending(!self.oldest);
            let page = orchestrator.list_queue_items(filter.clone(), page).await?;
            (count, counted, after, skip) = (page.count, page.count_text(), page.next(&filter), 0);
            if after.is_none() {
                break;
            }
            items.extend(page.items);
        }
        if self.global.json {
            output::json(&items)?;
            return Ok(ExitCode::SUCCESS);
        }
        let row = |item: &QueueItem| {
            let reason = item.processing_exception.as_ref().map(|exception| exception.reason.as_str());
            let mut note: String = reason.or(item.progress.as_deref()).unwrap_or_default().to_owned();
            if note.chars().count() > 60 {
                note = note.chars().take(59).chain(['…']).collect();
            }
            vec![
                item.id.to_string(),
                item.status.to_string(),
                item.priority.to_string(),
                item.reference.clone().unwrap_or_default(),
                item.creation_time.to_string(),
                item.retry_number.to_string(),
                note,
            ]
        };
        let rows: Vec<Vec<String>> = items.iter().map(row).collect();
        output::table(&["ITEM", "STATUS", "PRIORITY", "REFERENCE", "CREATED", "RETRY", "NOTE"], &rows)?;
        if count > (self.skip + items.len()) as u64 {
            output::remark(format!(
                "{} of {counted} items; list more with --skip {}",
                items.len(),
                self.skip + items.len()
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let chain = orchestrator.processing_history(ItemId(self.id)).await?;
        if self.global.json {
            output::json(&chain)?;
            return Ok(ExitCode::SUCCESS);
        }
        let wanted = chain.iter().find(|item| item.id.0 == self.id);
        let item = wanted.ok_or_else(|| CliError::failed(format!("item {} does not exist", self.id)))?;
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        let exception = item.processing_exception.as_ref();
        output::list(&[
            ("Item", item.id.to_string()),
            ("Key", item.key.to_string()),
            ("Status", item.status.to_string()),
            ("Review", item.review_status.to_string()),
            ("Priority", item.priority.to_string()),
            ("Reference", item.reference.clone().unwrap_or_default()),
            ("Group", item.group.clone().unwrap_or_default()),
            ("Content", item.specific_content.as_json().to_owned()),
            ("Output", item.output.as_ref().map(|output| output.as_json().to_owned()).unwrap_or_default()),
            ("Progress", item.progress.clone().unwrap_or_default()),
            ("Exception", exception.map(|exception| exception.reason.clone()).unwrap_or_default()),
            ("Due", time(item.due_date)),
            ("Deferred until", time(item.defer_date)),
            ("Created", item.creation_time.to_string()),
            ("Started", time(item.start_processing)),
            ("Ended", time(item.end_processing)),
        ])?;
        if let Some(details) = exception.and_then(|exception| exception.details.as_deref()) {
            output::line("Details")?;
            details.lines().try_for_each(|text| output::line(format!("  {}", output::printable(text))))?;
        }
        if chain.len() > 1 {
            output::line("\nAttempts")?;
            let row = |item: &QueueItem| {
                vec![
                    item.id.to_string(),
                    item.status.to_string(),
                    item.retry_number.to_string(),
                    time(item.end_processing),
                ]
            };
            output::table(&["ITEM", "STATUS", "RETRY", "ENDED"], &chain.iter().map(row).collect::<Vec<_>>())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Retry {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let mut versions = Vec::new();
        for id in &self.ids {
            versions.push(orchestrator.get_queue_item(ItemId(*id)).await?.version());
        }
        if let Some(queue) = self.all_failed {
            let filter = ItemFilter::default()
                .queue(queue)
                .status([Status::Failed])
                .review_status([ReviewStatus::None, ReviewStatus::InReview]);
            let mut after = None;
            loop {
                let page = Page::default().after(after).count_limit(0);
                let page = orchestrator.list_queue_items(filter.clone(), page).await?;
                after = page.next(&filter);
                if after.is_none() {
                    break;
                }
                versions.extend(page.items.iter().map(QueueItem::version));
            }
        }
        let all = versions.len();
        let failed = orchestrator.set_review_status(ReviewStatus::Retried, versions).await?;
        for (id, refusal) in failed.iter() {
            output::remark(format!("item {id} is not retried: {refusal}"));
        }
        let retried = all - failed.len();
        if self.global.json {
            output::json(&serde_json::json!({ "Retried": retried, "Refused": failed.len() }))?;
        } else {
            output::line(format!("{retried} items are retried"))?;
        }
        Ok(ExitCode::from(if failed.is_empty() { 0 } else { output::SOME_REFUSED }))
    }
}
