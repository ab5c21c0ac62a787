// The pages of docs/guide, shown on docs.rs and compiled as documentation tests. This module exists for rustdoc alone: a build
// pays nothing for it. The pages link to each other as files, by references such as [running] that stand at the end of each.
// Of two definitions of a reference the first one counts, so the definitions in front of each page lead to the modules here.
//
//! [first performer]: crate::guide::first_performer
//! [outcomes]: crate::guide::outcomes
//! [applications]: crate::guide::applications
//! [postponing]: crate::guide::postponing
//! [assets]: crate::guide::assets
//! [buckets]: crate::guide::buckets
//! [tasks]: crate::guide::tasks
//! [testing]: crate::guide::testing
//! [running]: crate::guide::running
//! [observability]: crate::guide::observability
//! [sqlite]: crate::guide::sqlite
//! [postgresql]: crate::guide::postgresql
//! [uipath]: crate::guide::uipath
//! [server]: crate::guide::server
//! [desk]: crate::guide::desk
//! [webhooks]: crate::guide::webhooks
//! [alerts]: crate::guide::alerts
//! [processes]: crate::guide::processes
//! [command line]: crate::guide::command_line
//! [scaling]: crate::guide::scaling
//! [tuning]: crate::guide::tuning
//! [faults]: crate::guide::faults
//! [reframework]: crate::guide::reframework
//! [back ends]: crate::guide::back_ends
//!
#![doc = include_str!("../docs/guide/README.md")]

/// The text of a page: the links to the other pages, the file, and what of the API belongs to it.
macro_rules! page {
    ($file:literal, $see:literal) => {
        concat!(
            "[guide]: crate::guide\n",
            "[first performer]: crate::guide::first_performer\n",
            "[outcomes]: crate::guide::outcomes\n",
            "[applications]: crate::guide::applications\n",
            "[postponing]: crate::guide::postponing\n",
            "[assets]: crate::guide::assets\n",
            "[buckets]: crate::guide::buckets\n",
            "[tasks]: crate::guide::tasks\n",
            "[testing]: crate::guide::testing\n",
            "[running]: crate::guide::running\n",
            "[observability]: crate::guide::observability\n",
            "[sqlite]: crate::guide::sqlite\n",
            "[postgresql]: crate::guide::postgresql\n",
            "[uipath]: crate::guide::uipath\n",
            "[server]: crate::guide::server\n",
            "[desk]: crate::guide::desk\n",
            "[webhooks]: crate::guide::webhooks\n",
            "[alerts]: crate::guide::alerts\n",
            "[processes]: crate::guide::processes\n",
            "[command line]: crate::guide::command_line\n",
            "[scaling]: crate::guide::scaling\n",
            "[tuning]: crate::guide::tuning\n",
            "[faults]: crate::guide::faults\n",
            "[reframework]: crate::guide::reframework\n",
            "[back ends]: crate::guide::back_ends\n\n",
            include_str!(concat!("../docs/guide/", $file)),
            "\n\nIn the API: ",
            $see,
            "\n"
        )
    };
}

#[doc = page!(
    "first-performer.md",
    "[`Transaction`](crate::Transaction), [`Performer`](crate::Performer), \
     [`Performer::from_fn`](crate::Performer::from_fn), [`NewQueueItem`](crate::NewQueueItem), \
     [`connect`](crate::connect), [`Orchestrator`](crate::Orchestrator)."
)]
pub mod first_performer {}

#[doc = page!(
    "outcomes.md",
    "[`Exception`](crate::Exception), [`BusinessException`](crate::BusinessException), \
     [`ApplicationException`](crate::ApplicationException), [`QueuePolicy`](crate::QueuePolicy), \
     [`TransactionItem`](crate::TransactionItem), [`Administration`](crate::Administration)."
)]
pub mod outcomes {}

#[doc = page!("applications.md", "[`Transaction`](crate::Transaction).")]
pub mod applications {}

#[doc = page!(
    "postponing.md",
    "[`Exception::postpone_for`](crate::Exception::postpone_for), \
     [`Exception::postpone_until`](crate::Exception::postpone_until), \
     [`NewQueueItem::defer_date`](crate::NewQueueItem::defer_date)."
)]
pub mod postponing {}

#[doc = page!(
    "assets.md",
    "[`TransactionItem::asset`](crate::TransactionItem::asset), [`TransactionItem::credential`](crate::TransactionItem::credential), \
     [`AssetAdministration`](crate::AssetAdministration), [`NewAsset`](crate::model::NewAsset), \
     [`Store::rotate_encryption_key`](crate::orchestrator::store::Store::rotate_encryption_key)."
)]
pub mod assets {}

#[doc = page!(
    "buckets.md",
    "[`BucketAdministration`](crate::BucketAdministration), [`model::bucket`](crate::model::bucket)."
)]
pub mod buckets {}

#[doc = page!(
    "tasks.md",
    "[`Exception::ask`](crate::Exception::ask), [`TransactionItem::answer`](crate::TransactionItem::answer), \
     [`NewTask`](crate::model::NewTask), [`TaskAnswer`](crate::model::TaskAnswer), \
     [`TaskAdministration`](crate::TaskAdministration)."
)]
pub mod tasks {}

#[doc = page!(
    "testing.md",
    "[`testing::perform`](crate::testing::perform), [`testing::perform_with`](crate::testing::perform_with), \
     [`testing::Tested`](crate::testing::Tested), [`testing::TestRun`](crate::testing::TestRun), \
     [`testing::replay`](crate::testing::replay())."
)]
pub mod testing {}

#[doc = page!(
    "running.md",
    "[`Performer`](crate::Performer), [`StopHandle`](crate::StopHandle), [`JobSummary`](crate::JobSummary), \
     [`PerformerEvent`](crate::PerformerEvent), [`PerformerError`](crate::PerformerError)."
)]
pub mod running {}

#[doc = page!(
    "observability.md",
    "[`connect`](crate::connect), [`TransactionOutcome`](crate::TransactionOutcome), [`QueueItem`](crate::QueueItem)."
)]
pub mod observability {}

#[doc = page!("sqlite.md", "[`connect`](crate::connect), [`Store`](crate::orchestrator::store::Store).")]
pub mod sqlite {}

#[doc = page!("postgresql.md", "[`connect`](crate::connect), [`Store`](crate::orchestrator::store::Store).")]
#[cfg_attr(
    feature = "postgres",
    doc = "With the feature `postgres`: [`add_queue_item_in`](crate::orchestrator::store::Store::add_queue_item_in), \
           [`complete_in`](crate::orchestrator::store::Store::complete_in), \
           [`report_in`](crate::orchestrator::store::Store::report_in)."
)]
pub mod postgresql {}

#[doc = page!("uipath.md", "[`connect`](crate::connect), [`orchestrator`](crate::orchestrator).")]
#[cfg_attr(
    feature = "uipath",
    doc = "With the feature `uipath`: [`Uipath`](crate::orchestrator::uipath::Uipath), \
           [`UipathBuilder`](crate::orchestrator::uipath::UipathBuilder)."
)]
pub mod uipath {}

#[doc = page!("server.md", "[`orchestrator`](crate::orchestrator).")]
#[cfg_attr(
    feature = "server",
    doc = "With the feature `server`: [`Server`](crate::server::Server), [`ServerBuilder`](crate::server::ServerBuilder), \
           [`AccessAdmin`](crate::server::AccessAdmin)."
)]
pub mod server {}

#[cfg_attr(doc, doc = concat!("[start picture]: ", include_str!("../docs/images/desk-start.png.url")))]
#[cfg_attr(doc, doc = concat!("[items picture]: ", include_str!("../docs/images/desk-items.png.url")))]
#[cfg_attr(doc, doc = concat!("[queue picture]: ", include_str!("../docs/images/desk-queue.png.url")))]
#[cfg_attr(doc, doc = concat!("[review picture]: ", include_str!("../docs/images/desk-review.png.url")))]
#[doc = page!("desk.md", "[`model::item_query`](crate::model::item_query).")]
#[cfg_attr(
    feature = "server",
    doc = "With the feature `server`: [`ServerBuilder::desk`](crate::server::ServerBuilder::desk), \
           [`DeskMode`](crate::server::DeskMode)."
)]
pub mod desk {}

#[doc = page!(
    "webhooks.md",
    "[`model::webhook`](crate::model::webhook), [`Store::create_webhook`](crate::orchestrator::store::Store::create_webhook)."
)]
pub mod webhooks {}

#[doc = page!("alerts.md", "[`model::alert`](crate::model::alert), [`Insight::list_alerts`](crate::orchestrator::Insight::list_alerts).")]
pub mod alerts {}
#[doc = page!(
    "processes.md",
    "[`ProcessAdministration`](crate::ProcessAdministration), [`ProcessSettings`](crate::model::process::ProcessSettings), \
     [`StartJobs`](crate::model::process::StartJobs), [`FleetAdministration::processes`](crate::FleetAdministration::processes)."
)]
pub mod processes {}

#[doc = page!("command-line.md", "[`Administration`](crate::Administration), whose methods the command calls.")]
pub mod command_line {}

#[doc = page!("scaling.md", "[`Performer::robots`](crate::Performer::robots), [`Performer::grace_period`](crate::Performer::grace_period).")]
pub mod scaling {}

#[doc = page!(
    "tuning.md",
    "[`Performer::claim_ahead`](crate::Performer::claim_ahead), [`Performer::robots`](crate::Performer::robots), \
     [`QueueLimits`](crate::QueueLimits), [`NewQueueItem::group`](crate::NewQueueItem::group)."
)]
pub mod tuning {}

#[doc = page!("faults.md", "[`testing`](crate::testing).")]
#[cfg_attr(feature = "server", doc = "With the feature `server`: [`Fault`](crate::server::Fault).")]
pub mod faults {}

#[doc = page!(
    "reframework.md",
    "[`Transaction`](crate::Transaction), [`Performer`](crate::Performer), [`Administration`](crate::Administration), \
     [`Performer::shadow`](crate::Performer::shadow), [`testing::Shadow`](crate::testing::Shadow)."
)]
pub mod reframework {}

#[doc = page!(
    "back-ends.md",
    "[`Orchestrator`](crate::Orchestrator), [`Administration`](crate::Administration), [`model`](crate::model), \
     [`Decorator`](crate::orchestrator::Decorator)."
)]
pub mod back_ends {}
