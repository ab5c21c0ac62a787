//! The base of decorators: what a decorator does not change is forwarded.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    BoxFuture, BulkAdded, ClaimRequest, CommitType, Orchestrator, Report, ReportAndClaimAnswer, Result, Seen,
    Swept,
};
use crate::model::asset::RobotAsset;
use crate::model::item::{ClaimedItem, NewQueueItem, QueueItem};
use crate::model::job::{JobEnd, JobState, NewJob};
use crate::model::key::{Claim, ItemKey, JobKey};
use crate::model::log::LogLine;
use crate::model::schema::Schemas;
use crate::model::task::TaskAnswer;

/// An Orchestrator around another one. It implements the methods that it changes; all others are forwarded, those with a default
/// in [`Orchestrator`] too.
///
/// Every decorator is an [`Orchestrator`]. The parts of [`Administration`](super::Administration) need no base: the compiler finds a
/// method that is missing, but for [`ensure_queue`](super::QueueAdministration::ensure_queue), which is made of others.
#[async_trait]
pub trait Decorator: fmt::Debug + Send + Sync + 'static {
    /// The Orchestrator that calls are forwarded to.
    fn inner(&self) -> &dyn Orchestrator;

    /// See [`Orchestrator::start_job`].
    async fn start_job(&self, job: NewJob) -> Result<JobKey> {
        self.inner().start_job(job).await
    }

    /// See [`Orchestrator::queue_schemas`].
    async fn queue_schemas(&self, queue: &str) -> Result<Schemas> {
        self.inner().queue_schemas(queue).await
    }

    /// See [`Orchestrator::beat`].
    async fn beat(&self, job: JobKey) -> Result<JobState> {
        self.inner().beat(job).await
    }

    /// See [`Orchestrator::end_job`].
    async fn end_job(&self, job: JobKey, end: JobEnd) -> Result<Swept> {
        self.inner().end_job(job, end).await
    }

    /// See [`Orchestrator::sweep`].
    async fn sweep(&self) -> Result<Swept> {
        self.inner().sweep().await
    }

    /// See [`Orchestrator::add_queue_item`].
    async fn add_queue_item(&self, queue: &str, item: NewQueueItem) -> Result<QueueItem> {
        self.inner().add_queue_item(queue, item).await
    }

    /// See [`Orchestrator::bulk_add_queue_items`].
    async fn bulk_add_queue_items(
        &self,
        queue: &str,
        commit_type: CommitType,
        items: Vec<NewQueueItem>,
    ) -> Result<BulkAdded> {
        self.inner().bulk_add_queue_items(queue, commit_type, items).await
    }

    /// See [`Orchestrator::add_and_start_transaction`].
    async fn add_and_start_transaction(
        &self,
        request: ClaimRequest,
        item: NewQueueItem,
    ) -> Result<ClaimedItem> {
        self.inner().add_and_start_transaction(request, item).await
    }

    /// See [`Orchestrator::report_and_claim`].
    async fn report_and_claim(
        &self,
        reports: Vec<Report>,
        request: Option<ClaimRequest>,
    ) -> ReportAndClaimAnswer {
        self.inner().report_and_claim(reports, request).await
    }

    /// See [`Orchestrator::max_concurrent_calls`].
    fn max_concurrent_calls(&self) -> usize {
        self.inner().max_concurrent_calls()
    }

    /// See [`Orchestrator::give_up_claims`].
    fn give_up_claims(&self, job: JobKey) {
        self.inner().give_up_claims(job);
    }

    /// See [`Orchestrator::supports_follow_ups`].
    fn supports_follow_ups(&self) -> bool {
        self.inner().supports_follow_ups()
    }

    /// See [`Orchestrator::set_transaction_progress`].
    async fn set_transaction_progress(&self, claim: Claim, progress: String) -> Result<()> {
        self.inner().set_transaction_progress(claim, progress).await
    }

    /// See [`Orchestrator::submit_logs`].
    async fn submit_logs(&self, lines: Vec<LogLine>) -> Result<()> {
        self.inner().submit_logs(lines).await
    }

    /// See [`Orchestrator::read_asset`].
    async fn read_asset(&self, name: &str) -> Result<RobotAsset> {
        self.inner().read_asset(name).await
    }

    /// See [`Orchestrator::supports_asking`].
    fn supports_asking(&self) -> bool {
        self.inner().supports_asking()
    }

    /// See [`Orchestrator::read_answer`].
    async fn read_answer(&self, item: ItemKey) -> Result<Option<TaskAnswer>> {
        self.inner().read_answer(item).await
    }

    /// See [`Orchestrator::wait_for_items`].
    async fn wait_for_items(&self, queue: &str, seen: Seen, at_most: Duration) {
        self.inner().wait_for_items(queue, seen, at_most).await;
    }
}

// Written without the macro: the future that the decorator has boxed is handed on, and not boxed once more.
impl<D: Decorator> Orchestrator for D {
    fn start_job<'s, 'f>(&'s self, job: NewJob) -> BoxFuture<'f, Result<JobKey>>
    where
        's: 'f,
        Self: 'f,
    {
        Decorator::start_job(self, job)
    }

    fn queue_schemas<'s, 'q, 'f>(&'s self, queue: &'q str) -> BoxFuture<'f, Result<Schemas>>
    where
        's: 'f,
        'q: 'f,
        Self: 'f,
    {
        Decorator::queue_schemas(self, queue)
    }

    fn beat<'s, 'f>(&'s self, job: JobKey) -> BoxFuture<'f, Result<JobState>>
    where
        's: 'f,
        Self: 'f,
    {
        Decorator::beat(self, job)
    }

    fn end_job<'s, 'f>(&'s self, job: JobKey, end: JobEnd) -> BoxFuture<'f, Result<Swept>>
    where
        's: 'f,
        Self: 'f,
    {
        Decorator::end_job(self, job, end)
    }

    fn sweep<'s, 'f>(&'s self) -> BoxFuture<'f, Result<Swept>>
    where
        's: 'f,
        Self: 'f,
    {
        Decorator::sweep(self)
    }

    fn add_queue_item<'s, 'q, 'f>(
        &'s self,
        queue: &'q str,
        item: NewQueueItem,
    ) -> BoxFuture<'f, Result<QueueItem>>
    where
        's: 'f,
        'q: 'f,
        Self: 'f,
    {
        Decorator::add_queue_item(self, queue, item)
    }

    fn bulk_add_queue_items<'s, 'q, 'f>(
        &'s self,
        queue: &'q str,
        commit_type: CommitType,
        items: Vec<NewQueueItem>,
    ) -> BoxFuture<'f, Result<BulkAdded>>
    where
        's: 'f,
        'q: 'f,
        Self: 'f,
    {
        Decorator::bulk_add_queue_items(self, queue, commit_type, items)
    }

    fn add_and_start_transaction<'s, 'f>(
        &'s self,
        request: ClaimRequest,
        item: NewQueueItem,
    ) -> BoxFuture<'f, Result<ClaimedItem>>
    where
        's: 'f,
        Self: 'f,
    {
        Decorator::add_and_start_transaction(self, request, item)
    }

    fn report_and_claim<'s, 'f>(
        &'s self,
        reports: Vec<Report>,
        request: Option<ClaimRequest>,
    ) -> BoxFuture<'f, ReportAndClaimAnswer>
    where
        's: 'f,
        Self: 'f,
    {
        Decorator::report_and_claim(self, reports, request)
    }

    fn max_concurrent_calls(&self) -> usize {
        Decorator::max_concurrent_calls(self)
    }

    fn give_up_claims(&self, job: JobKey) {
        Decorator::give_up_claims(self, job);
    }

    fn supports_follow_ups(&self) -> bool {
        Decorator::supports_follow_ups(self)
    }

    fn set_transaction_progress<'s, 'f>(&'s self, claim: Claim, progress: String) -> BoxFuture<'f, Result<()>>
    where
        's: 'f,
        Self: 'f,
    {
        Decorator::set_transaction_progress(self, claim, progress)
    }

    fn submit_logs<'s, 'f>(&'s self, lines: Vec<LogLine>) -> BoxFuture<'f, Result<()>>
    where
        's: 'f,
        Self: 'f,
    {
        Decorator::submit_logs(self, lines)
    }

    fn read_asset<'s, 'n, 'f>(&'s self, name: &'n str) -> BoxFuture<'f, Result<RobotAsset>>
    where
        's: 'f,
        'n: 'f,
        Self: 'f,
    {
        Decorator::read_asset(self, name)
    }

    fn supports_asking(&self) -> bool {
        Decorator::supports_asking(self)
    }

    fn read_answer<'s, 'f>(&'s self, item: ItemKey) -> BoxFuture<'f, Result<Option<TaskAnswer>>>
    where
        's: 'f,
        Self: 'f,
    {
        Decorator::read_answer(self, item)
    }

    fn wait_for_items<'s, 'q, 'f>(
        &'s self,
        queue: &'q str,
        seen: Seen,
        at_most: Duration,
    ) -> BoxFuture<'f, ()>
    where
        's: 'f,
        'q: 'f,
        Self: 'f,
    {
        Decorator::wait_for_items(self, queue, seen, at_most)
    }
}
