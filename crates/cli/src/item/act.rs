//! Acts on items that are named by their ids or selected by filters.
//!
//! What is acted on is what was selected: the ids and row versions of the preview. An item that has changed since is refused
//! with code 1020, and named.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::item::QueueItem;
use performer_core::model::item_query::ItemQuery;
use performer_core::model::key::ItemId;
use performer_core::model::review::{FailedItems, ItemVersion, Person};
use performer_core::model::status::ReviewStatus;
use performer_core::orchestrator::{Administration, OrchestratorError};

use super::super::GlobalArgs;
use super::super::environment::user_of_machine;
use super::super::filter::{FilterArgs, selected};
use super::super::output::{self, CliError, CommandResult};
use super::super::up_to;
use super::list;
use super::masked::Masks;

/// How many items one call has: a call is one transaction, beside those of robots.
const CHUNK: usize = 200;

/// The most items of one act.
const MOST: usize = 100_000;

/// Which items to act on, and whether to ask before.
#[derive(Args)]
pub(super) struct Selection {
    /// The ids of the items
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    /// The maximum number of items that filters select
    #[arg(long, default_value_t = MOST, value_name = "N", value_parser = up_to(MOST))]
    top: usize,
    /// Show which items are selected, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation; required with filters if stdin is not a terminal
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    pub(super) global: GlobalArgs,
    // Last: what comes behind it would be under its heading in the help.
    #[command(flatten)]
    pub(super) filter: FilterArgs,
}

/// Set the review status of failed or abandoned items
#[derive(Args)]
pub(in super::super) struct Review {
    /// The review status: None, InReview or Verified
    #[arg(value_name = "STATUS")]
    to: ReviewStatus,
    #[command(flatten)]
    selection: Selection,
}

/// Set or clear the reviewer of failed or abandoned items
#[derive(Args)]
pub(in super::super) struct Assign {
    /// The id of the user, or none
    #[arg(value_name = "USER|none")]
    to: String,
    #[command(flatten)]
    selection: Selection,
}

/// Comment on items
#[derive(Args)]
pub(in super::super) struct Comment {
    /// The comment, at most 512 characters
    text: String,
    /// The name of the author [default: the user of this machine; over HTTP the user of the credentials]
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    #[command(flatten)]
    selection: Selection,
}

/// Delete items; those that are New are not handed out any more
#[derive(Args)]
pub(in super::super) struct Delete {
    #[command(flatten)]
    selection: Selection,
}

/// Remove the content of items that are Successful, Retried or Deleted, and keep the rest
#[derive(Args)]
pub(in super::super) struct Purge {
    #[command(flatten)]
    selection: Selection,
}

/// What is done with items.
pub(super) enum Act {
    Review(ReviewStatus),
    Assign(Option<i64>),
    Comment(Person, String),
    Delete,
    Purge,
}

/// What an act did.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) done: usize,
    pub(super) refused: Vec<(ItemId, Refusal)>,
}

impl Review {
    pub(super) async fn run(self) -> CommandResult {
        if self.to == ReviewStatus::Retried {
            return Err(CliError::usage("a retry adds a copy of each item: use performer item retry"));
        }
        self.selection.act(Act::Review(self.to), "reviewed", "Reviewed", "are reviewed").await
    }
}

impl Assign {
    pub(super) async fn run(self) -> CommandResult {
        let reviewer = match &*self.to {
            "none" => None,
            id => Some(id.parse().map_err(|_| {
                CliError::usage(format!("{id:?} is not the id of a user, which is a whole number, or none"))
            })?),
        };
        self.selection.act(Act::Assign(reviewer), "assigned", "Assigned", "are assigned").await
    }
}

impl Comment {
    pub(super) async fn run(self) -> CommandResult {
        let of_machine = || user_of_machine().user_name;
        let author = Person { user_id: None, user_name: self.author.or_else(of_machine) };
        let act = Act::Comment(author, self.text);
        self.selection.act(act, "commented on", "Commented", "have a new comment").await
    }
}

impl Delete {
    pub(super) async fn run(self) -> CommandResult {
        self.selection.act(Act::Delete, "deleted", "Deleted", "are deleted").await
    }
}

impl Purge {
    pub(super) async fn run(self) -> CommandResult {
        self.selection.act(Act::Purge, "purged", "Purged", "have no content any more").await
    }
}

impl Selection {
    async fn act(self, act: Act, verb: &str, name: &str, says: &str) -> CommandResult {
        let query = self.filter.query(&[])?;
        let Some((orchestrator, items)) = self.items(verb, &query, async |_, _| Ok(())).await? else {
            return Ok(ExitCode::SUCCESS);
        };
        apply(&*orchestrator, &act, &versions(&items)).await?.report(name, says)
    }

    /// The selected items, if the act is to be done: after the preview and the question. `verb`: what will be done with them.
    /// `preview`: shows more of them before the question.
    pub(super) async fn items(
        &self,
        verb: &str,
        query: &ItemQuery,
        preview: impl AsyncFnOnce(&dyn Administration, &[QueueItem]) -> Result<(), CliError>,
    ) -> Result<Option<(Arc<dyn Administration>, Vec<QueueItem>)>, CliError> {
        let by_filter = *query != ItemQuery::default();
        if by_filter != self.ids.is_empty() {
            let message = "name the items by their ids, or select them by filters such as --queue and --status; not both";
            return Err(CliError::usage(message));
        }
        if by_filter && !self.yes && !self.dry_run && !std::io::stdin().is_terminal() {
            let message =
                "filters select the items, and stdin is not a terminal: look with --dry-run, then use --yes";
            return Err(CliError::usage(message));
        }
        let orchestrator = self.global.connect().await?;
        let mut items = Vec::new();
        if by_filter {
            items = selected(&*orchestrator, query, self.top).await?;
        } else {
            for id in &self.ids {
                items.push(orchestrator.get_queue_item(ItemId(*id)).await?);
            }
        }
        if self.dry_run && output::is_json() {
            let masks = Masks::of(&*orchestrator).await?;
            items.iter_mut().try_for_each(|item| masks.mask(item).map(drop))?;
            output::json(&items)?;
            return Ok(None);
        }
        if items.is_empty() {
            output::remark("no items match");
        }
        if self.dry_run || by_filter && !self.yes {
            list::table(&items[..items.len().min(list::PREVIEW)])?;
            if items.len() > list::PREVIEW {
                output::remark(format!("and {} more", items.len() - list::PREVIEW));
            }
            preview(&*orchestrator, &items).await?;
        }
        if self.dry_run {
            output::remark(format!("{} items would be {verb}; nothing was changed", items.len()));
            return Ok(None);
        }
        if by_filter && !self.yes && !items.is_empty() && !is_confirmed(items.len(), verb)? {
            output::remark("nothing was changed");
            return Ok(None);
        }
        Ok(Some((orchestrator, items)))
    }
}

pub(super) fn versions(items: &[QueueItem]) -> Vec<ItemVersion> {
    items.iter().map(QueueItem::version).collect()
}

fn is_confirmed(count: usize, verb: &str) -> Result<bool, CliError> {
    let mut stderr = std::io::stderr();
    write!(stderr, "{count} items will be {verb}. Go on? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Acts on items in chunks.
pub(super) async fn apply(
    orchestrator: &dyn Administration,
    act: &Act,
    items: &[ItemVersion],
) -> Result<Outcome, CliError> {
    let mut outcome = Outcome::default();
    let bar = bar(items.len());
    for chunk in items.chunks(CHUNK) {
        let failed = act.on(orchestrator, chunk).await.map_err(|error| {
            bar.finish_and_clear();
            let message = format!("{}; {} items were done before", error.with_causes(), outcome.done);
            CliError::from(error).with_message(message)
        })?;
        outcome.done += chunk.len() - failed.len();
        outcome.refused.extend(failed.0);
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    Ok(outcome)
}

fn bar(count: usize) -> ProgressBar {
    if count <= CHUNK || !output::has_bars() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} items  {eta} left");
    ProgressBar::new(count as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl Act {
    async fn on(
        &self,
        orchestrator: &dyn Administration,
        items: &[ItemVersion],
    ) -> Result<FailedItems, OrchestratorError> {
        match self {
            Self::Review(to) => orchestrator.set_review_status(*to, items.to_vec()).await,
            Self::Assign(reviewer) => orchestrator.set_reviewer(*reviewer, items.to_vec()).await,
            Self::Delete => orchestrator.delete_queue_items(items.to_vec()).await,
            Self::Comment(author, text) => {
                let mut failed = FailedItems::default();
                for item in items {
                    let added = orchestrator.add_comment(item.id, author.clone(), text.clone()).await;
                    failed.0.extend(refusal(item.id, added.map(drop))?);
                }
                Ok(failed)
            }
            Self::Purge => {
                let mut failed = FailedItems::default();
                for item in items {
                    failed.0.extend(refusal(item.id, orchestrator.purge_content(item.id).await)?);
                }
                Ok(failed)
            }
        }
    }
}

/// What is refused for one item does not end an act on many.
fn refusal(
    id: ItemId,
    done: Result<(), OrchestratorError>,
) -> Result<Option<(ItemId, Refusal)>, OrchestratorError> {
    match done {
        Ok(()) => Ok(None),
        Err(error) if error.is_not_found() || error.is_invalid() || error.is_conflict() => {
            let code = error.code().unwrap_or(ErrorCode::INVALID_REQUEST);
            Ok(Some((id, Refusal::new(code, error.to_string()))))
        }
        Err(error) => Err(error),
    }
}

impl Outcome {
    pub(super) fn report(self, name: &str, says: &str) -> CommandResult {
        for (id, refusal) in &self.refused {
            output::warning(format!("item {id} is refused: {refusal} (code {})", refusal.code()));
        }
        if output::is_json() {
            output::json(&serde_json::json!({ name: self.done, "Refused": self.refused.len() }))?;
        } else {
            output::line(format!("{} items {says}", self.done))?;
        }
        Ok(ExitCode::from(if self.refused.is_empty() { 0 } else { output::SOME_REFUSED }))
    }
}
