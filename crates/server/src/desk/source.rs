//! Where pages read and act: the store of this server, or an Orchestrator elsewhere.
//!
//! An Orchestrator answers over HTTP, and counts lists against a limit of 100 calls a minute (orchestrator-api 3). So its queues are
//! read at most once a minute for all pages, and only the pages of [`HAS_PAGES`] exist.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use performer_core::model::history::ItemEvent;
use performer_core::model::item::{ItemEdit, ItemFilter, Page, QueueItem};
use performer_core::model::job::{Job, StopStrategy};
use performer_core::model::key::{FolderId, ItemId, JobKey};
use performer_core::model::queue::QueueDefinition;
use performer_core::model::review::{Comment, FailedItems, ItemVersion, Person};
use performer_core::model::statistics::QueueStatistics;
use performer_core::model::status::{ReviewStatus, Status};
use performer_core::orchestrator::{
    Administration, FleetAdministration as _, ItemAdministration as _, OrchestratorError, Result,
    ReviewAdministration as _,
};
use performer_store::{QueueSelector, Store};

/// For how long what is known of the queues of an Orchestrator is shown.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// How many jobs of an Orchestrator are searched for one: a page of its list.
const NEWEST_JOBS: usize = 1_000;

/// An Orchestrator takes its caller as the author of comments.
const ITS_CALLER: Person = Person { user_id: None, user_name: None };

/// The pages of a desk over an Orchestrator, and what lies below them.
const HAS_PAGES: [&str; 4] = ["/desk/queues", "/desk/items", "/desk/review", "/desk/jobs"];
/// What all desks have.
const HAS_OTHERS: [&str; 5] = ["/desk", "/desk/login", "/desk/open", "/desk/logout", "/desk/theme"];
/// What such pages cannot do: the Orchestrator refuses it, or has no single call for it.
const HAS_NO_ACTS: [&str; 7] = ["assign", "correct", "limits", "pause", "purge", "resume", "reveal"];

/// Queues with the numbers of their items.
type Counted = Vec<(QueueDefinition, QueueStatistics)>;

/// An Orchestrator elsewhere. All its queues are in one folder here, which stands for the folder of its client.
#[derive(Clone, Debug)]
pub(crate) struct RemoteQueues {
    orchestrator: Arc<dyn Administration>,
    counted: Arc<Mutex<Option<(Instant, Counted)>>>,
}

/// Where a page reads and acts.
pub(super) enum Source {
    Store(Box<Store>),
    Remote(RemoteQueues),
}

/// Whether a desk over an Orchestrator has a page or an act.
pub(super) fn is_remote_page(path: &str) -> bool {
    let is_page_or_below =
        |page: &str| path.strip_prefix(page).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let is_page = HAS_PAGES.into_iter().any(is_page_or_below);
    let act = path.rsplit('/').next().unwrap_or_default();
    is_page && !HAS_NO_ACTS.contains(&act) || HAS_OTHERS.contains(&path)
}

impl RemoteQueues {
    pub(crate) fn new(orchestrator: Arc<dyn Administration>) -> Self {
        Self { orchestrator, counted: Arc::default() }
    }

    /// The queues, and how many of their items are New and InProgress; what is known for a minute.
    async fn counted(&self) -> Result<Counted> {
        let mut counted = self.counted.lock().await; // one reads, and the others wait for it
        if let Some((_, known)) = counted.as_ref().filter(|(at, _)| at.elapsed() < KEPT_FOR) {
            return Ok(known.clone());
        }
        let (queues, backlogs) =
            (self.orchestrator.list_queues().await?, self.orchestrator.list_backlogs().await?);
        let with_numbers = |mut queue: QueueDefinition| {
            queue.folders = vec![FolderId::SHARED];
            let mut statistics = QueueStatistics::default();
            if let Some(backlog) = backlogs.iter().find(|backlog| backlog.queue == queue.id) {
                (statistics.new, statistics.in_progress) = (backlog.new, backlog.in_progress);
            }
            (queue, statistics)
        };
        let all: Counted = queues.into_iter().map(with_numbers).collect();
        *counted = Some((Instant::now(), all.clone()));
        Ok(all)
    }

    /// What was counted is not so any more: this desk has changed something.
    async fn forget(&self) {
        *self.counted.lock().await = None;
    }
}

impl Source {
    /// The statuses whose items are counted.
    pub(super) fn counted_statuses(&self) -> &'static [Status] {
        match self {
            Self::Store(_) => Status::ALL,
            Self::Remote(_) => &[Status::New, Status::InProgress],
        }
    }

    pub(super) async fn queues_in_folders(&self, folders: Arc<[FolderId]>) -> Result<Vec<QueueDefinition>> {
        match self {
            Self::Store(store) => store.queues_in_folders(folders).await,
            Self::Remote(remote) => Ok(remote.counted().await?.into_iter().map(|(queue, _)| queue).collect()),
        }
    }

    pub(super) async fn statistics_in_folders(&self, folders: Arc<[FolderId]>) -> Result<Counted> {
        match self {
            Self::Store(store) => store.statistics_in_folders(folders).await,
            Self::Remote(remote) => remote.counted().await,
        }
    }

    pub(super) async fn statistics_of(&self, queue: &QueueDefinition) -> Result<QueueStatistics> {
        match self {
            Self::Store(store) => store.statistics_of(QueueSelector::Id(queue.id)).await,
            Self::Remote(remote) => {
                let mut all = remote.counted().await?.into_iter();
                let found = all.find(|(known, _)| known.id == queue.id);
                found
                    .map(|(_, statistics)| statistics)
                    .ok_or_else(|| OrchestratorError::no_queue(&queue.name))
            }
        }
    }

    pub(super) async fn items_in_folders(
        &self,
        folders: Arc<[FolderId]>,
        filter: ItemFilter,
        page: Page,
    ) -> Result<(Vec<QueueItem>, Option<u64>)> {
        match self {
            Self::Store(store) => store.items_in_folders(folders, filter, page).await,
            Self::Remote(remote) => {
                let found = remote.orchestrator.list_queue_items(filter, page).await?;
                Ok((found.items, Some(found.count)))
            }
        }
    }

    pub(super) async fn items_with_ids(
        &self,
        folders: Arc<[FolderId]>,
        ids: Vec<ItemId>,
    ) -> Result<Vec<(FolderId, QueueItem)>> {
        match self {
            Self::Store(store) => store.items_with_ids(folders, ids).await,
            Self::Remote(remote) => {
                let mut found = Vec::new();
                for id in ids {
                    match remote.orchestrator.get_queue_item(id).await {
                        Ok(item) => found.push((FolderId::SHARED, item)),
                        Err(error) if error.is_not_found() => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(found)
            }
        }
    }

    pub(super) async fn list_queue_items(&self, filter: ItemFilter, page: Page) -> Result<Vec<QueueItem>> {
        let found = match self {
            Self::Store(store) => store.list_queue_items(filter, page).await,
            Self::Remote(remote) => remote.orchestrator.list_queue_items(filter, page).await,
        };
        Ok(found?.items)
    }

    pub(super) async fn processing_history(&self, id: ItemId) -> Result<Vec<QueueItem>> {
        match self {
            Self::Store(store) => store.processing_history(id).await,
            Self::Remote(remote) => remote.orchestrator.processing_history(id).await,
        }
    }

    pub(super) async fn item_events(&self, id: ItemId) -> Result<Vec<ItemEvent>> {
        match self {
            Self::Store(store) => store.item_events(id).await,
            Self::Remote(remote) => remote.orchestrator.item_events(id).await,
        }
    }

    pub(super) async fn comments(&self, id: ItemId) -> Result<Vec<Comment>> {
        match self {
            Self::Store(store) => store.comments(id).await,
            Self::Remote(remote) => remote.orchestrator.comments(id).await,
        }
    }

    pub(super) async fn add_comment(&self, id: ItemId, author: Person, text: String) -> Result<Comment> {
        match self {
            Self::Store(store) => store.add_comment(id, author, text).await,
            Self::Remote(remote) => remote.orchestrator.add_comment(id, ITS_CALLER, text).await,
        }
    }

    pub(super) async fn edit_comment(
        &self,
        comment: i64,
        author: Person,
        text: Option<String>,
    ) -> Result<()> {
        match self {
            Self::Store(store) => store.edit_comment(comment, author, text).await,
            Self::Remote(remote) => remote.orchestrator.edit_comment(comment, ITS_CALLER, text).await,
        }
    }

    /// Sets the review status of items, and adds a comment to those that are not refused; an Orchestrator adds it afterwards.
    pub(super) async fn review_items(
        &self,
        to: ReviewStatus,
        items: Vec<ItemVersion>,
        comment: Option<(Person, String)>,
    ) -> Result<FailedItems> {
        let remote = match self {
            Self::Store(store) => return store.review_items(to, items, comment).await,
            Self::Remote(remote) => remote,
        };
        remote.forget().await;
        let refused = remote.orchestrator.set_review_status(to, items.clone()).await?;
        if let Some((_, text)) = comment {
            let is_refused = |item: &ItemVersion| refused.iter().any(|(id, _)| *id == item.id);
            for item in items.iter().filter(|item| !is_refused(item)) {
                remote.orchestrator.add_comment(item.id, ITS_CALLER, text.clone()).await?;
            }
        }
        Ok(refused)
    }

    pub(super) async fn delete_queue_items(&self, items: Vec<ItemVersion>) -> Result<FailedItems> {
        match self {
            Self::Store(store) => store.delete_queue_items(items).await,
            Self::Remote(remote) => {
                remote.forget().await;
                remote.orchestrator.delete_queue_items(items).await
            }
        }
    }

    /// Changes an item as the reader has seen it. An Orchestrator changes it as it is then.
    pub(super) async fn edit_queue_item(&self, id: ItemId, mut edit: ItemEdit) -> Result<QueueItem> {
        match self {
            Self::Store(store) => store.edit_queue_item(id, edit).await,
            Self::Remote(remote) => {
                edit.row_version = None;
                remote.orchestrator.edit_queue_item(id, edit).await
            }
        }
    }

    pub(super) async fn list_jobs(&self, limit: usize) -> Result<Vec<Job>> {
        match self {
            Self::Store(store) => store.list_jobs(limit).await,
            Self::Remote(remote) => {
                let mut jobs = remote.orchestrator.list_jobs(limit).await?;
                jobs.iter_mut().for_each(|job| job.folder = FolderId::SHARED);
                Ok(jobs)
            }
        }
    }

    pub(super) async fn job(&self, key: JobKey) -> Result<Job> {
        if let Self::Store(store) = self {
            return store.job(key).await;
        }
        let missing = || OrchestratorError::not_found(format!("job {key} is not among the newest jobs"));
        self.list_jobs(NEWEST_JOBS).await?.into_iter().find(|job| job.key == key).ok_or_else(missing)
    }

    pub(super) async fn stop_job(&self, key: JobKey, strategy: StopStrategy) -> Result<()> {
        match self {
            Self::Store(store) => store.stop_job(key, strategy).await,
            Self::Remote(remote) => remote.orchestrator.stop_job(key, strategy).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_remote_page;

    #[test]
    fn a_desk_over_an_orchestrator_has_the_pages_of_queues_items_and_jobs() {
        for path in [
            "/desk",
            "/desk/login",
            "/desk/queues",
            "/desk/queues/7",
            "/desk/items/review",
            "/desk/items/42/edit",
        ] {
            assert!(is_remote_page(path), "{path}");
        }
        for path in [
            "/desk/items.csv",
            "/desk/queues/7/pause",
            "/desk/items/assign",
            "/desk/items/42/purge",
            "/desk/reasons",
            "/desk/operations/new",
            "/desk/events",
            "/desk/audit",
            "/desk/assets",
            "/desk/assets/1",
            "/desk/access",
            "/deskx",
        ] {
            assert!(!is_remote_page(path), "{path}");
        }
    }
}
