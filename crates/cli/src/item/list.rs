//! `performer item list`: lists the items that filters select.

use std::process::ExitCode;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use performer_core::model::item::{Page, QueueItem};
use performer_core::model::item_query::ItemQuery;
use performer_core::model::list::MAX_SKIP;
use performer_core::model::view::SavedView;

use super::super::GlobalArgs;
use super::super::filter::{FilterArgs, each_page, item_filter};
use super::super::output::{self, CliError, Column, CommandResult, ListFormat, ListOutput};
use super::super::up_to;
use super::masked::Masks;

/// List the items that filters select, the newest first
#[derive(Args)]
#[command(after_help = "\
Filters have the names of the desk's URLs, and mean the same there:\n\n  \
performer item list --queue Invoices --status Failed --review None,InReview --ended yesterday\n  \
performer item list --status Failed --type Business --sort -ended --top 20\n  \
performer item list --queue Invoices --ref 'INV-2026*' --output jsonl\n  \
performer item list --view 'Failed this week'")]
pub(in super::super) struct List {
    /// The order: id, created, started, ended, due, priority or ref, with - in front for the greatest first [default: that of the view, or -id]
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    sort: Option<String>,
    /// Take the filters and the order of the saved view with this name or number; options take the place of what it has
    #[arg(long, value_name = "NAME")]
    view: Option<String>,
    /// Only what comes behind this position, which a list before it has printed
    #[arg(long, value_name = "POSITION")]
    after: Option<String>,
    /// The maximum number of items
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = up_to(1_000_000))]
    top: usize,
    /// The number of items to skip
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(0..=MAX_SKIP as u64))]
    skip: usize,
    /// List the oldest items first; short for --sort id
    #[arg(long, conflicts_with = "sort")]
    oldest: bool,
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
    // Last: what comes behind it would be under its heading in the help.
    #[command(flatten)]
    filter: FilterArgs,
}

impl List {
    pub(super) async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let orchestrator = self.global.connect().await?;
        let view = match &self.view {
            Some(name) => Some(find_view(orchestrator.list_views().await?, name)?),
            None => None,
        };
        let after = match (&self.after, self.skip) {
            (after, 0) => after.clone(),
            (after, skip) => {
                let query = self.query(view.as_ref(), after.as_deref())?;
                let filter = item_filter(&*orchestrator, &query).await?;
                // The last of what is skipped is where the list begins.
                let page = Page::first(1).skip(skip - 1).after(query.after.clone()).count_limit(0);
                let page = orchestrator.list_queue_items(filter.clone(), page).await?;
                let Some(position) = page.next(&filter) else { return finish(format, &[], None) };
                Some(position.to_string())
            }
        };
        let query = self.query(view.as_ref(), after.as_deref())?;
        let mut items: Vec<QueueItem> = Vec::new();
        let masks = Masks::of(&*orchestrator).await?;
        let listed = each_page(&*orchestrator, &query, self.top, |mut page| {
            page.iter_mut().try_for_each(|item| masks.mask(item).map(drop))?;
            if format != ListFormat::Jsonl {
                items.extend(page);
                return Ok(());
            }
            page.iter().try_for_each(output::json_line)
        })
        .await?;
        let more = listed.next.filter(|_| listed.count > (self.skip + items.len()) as u64);
        let remark = more.map(|position| {
            format!("{} of {} items; list more with --after {position}", items.len(), listed.counted)
        });
        finish(format, &items, remark)
    }
}

impl List {
    fn query(&self, view: Option<&SavedView>, after: Option<&str>) -> Result<ItemQuery, CliError> {
        let sort = if self.oldest { Some("id") } else { self.sort.as_deref() };
        let place = after.map(|after| ("after", after));
        let order = |by: &'static str| Some(("sort", by));
        match view {
            Some(view) => {
                let others: Vec<_> = sort.map(|sort| ("sort", sort)).into_iter().chain(place).collect();
                self.filter.of_view(&view.content, &others)
            }
            None => {
                let sort = sort.map(|sort| ("sort", sort)).or(order("-id"));
                self.filter.query(&sort.into_iter().chain(place).collect::<Vec<_>>())
            }
        }
    }
}

/// The view of this name, or of this number.
fn find_view(views: Vec<SavedView>, name: &str) -> Result<SavedView, CliError> {
    let names: Vec<String> = views.iter().map(|view| format!("{:?}", view.content.name)).collect();
    let number: Option<i64> = name.parse().ok();
    let mut found = views.into_iter().filter(|view| view.content.name == name || number == Some(view.id));
    match (found.next(), found.next()) {
        (Some(view), None) => Ok(view),
        (Some(one), Some(other)) => Err(CliError::usage(format!(
            "several people have a view {name:?}; name one by its number, such as {} or {}",
            one.id, other.id
        ))),
        (None, _) if names.is_empty() => {
            Err(CliError::not_found(format!("there is no view {name:?}; there is none at all")))
        }
        (None, _) => {
            Err(CliError::not_found(format!("there is no view {name:?}; views are {}", names.join(", "))))
        }
    }
}

fn finish(format: ListFormat, items: &[QueueItem], remark: Option<String>) -> CommandResult {
    if format != ListFormat::Jsonl {
        format.print(items, &COLUMNS, row)?;
    }
    if let Some(remark) = remark.filter(|_| format == ListFormat::Table) {
        output::remark(remark);
    }
    Ok(ExitCode::SUCCESS)
}

const COLUMNS: [Column; 8] = [
    Column::plain("ITEM"),
    Column::status("STATUS"),
    Column::status("REVIEW"),
    Column::plain("PRIORITY"),
    Column::text("REFERENCE"),
    Column::plain("CREATED"),
    Column::plain("RETRY"),
    Column::text("NOTE"),
];

fn row(item: &QueueItem) -> Vec<String> {
    let reason = item.processing_exception.as_ref().map(|exception| exception.reason.as_str());
    vec![
        item.id.to_string(),
        item.status.to_string(),
        item.review_status.to_string(),
        item.priority.to_string(),
        item.reference.clone().unwrap_or_default(),
        output::time(item.creation_time),
        item.retry_number.to_string(),
        reason.or(item.progress.as_deref()).unwrap_or_default().to_owned(),
    ]
}

/// Prints items for people.
pub(super) fn table(items: &[QueueItem]) -> Result<(), CliError> {
    output::table(&COLUMNS, &items.iter().map(row).collect::<Vec<_>>())
}

/// How many items the preview of an act shows.
pub(super) const PREVIEW: usize = 10;
