//! Checks of queues and jobs, wherever they are.

use jiff::{SignedDuration, Timestamp};
use performer_core::model::claim_blockers::ClaimBlocker;
use performer_core::model::figures::{FiguresFilter, minute_of, start_of};
use performer_core::model::item::{ItemFilter, Page};
use performer_core::model::job::Job;
use performer_core::model::queue::QueueDefinition;
use performer_core::model::result::Outcome;
use performer_core::orchestrator::{Administration, ErrorKind, OrchestratorError, read_claim_blockers};

use super::super::queue_removal::expired_at;
use super::super::queue_why::jobs as known_jobs;
use super::report::{CheckName, Finding, Report};
use super::{length, now};

/// How long items may be past their retention: performers and servers remove them now and then.
const REMOVED_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// Checks the queues. `ahead`: by how much the clock of the store or the server is ahead of this machine's, by which leases end.
pub(super) async fn check(orchestrator: &dyn Administration, ahead: SignedDuration, report: &mut Report) {
    let at = now() + ahead;
    let queues = match orchestrator.list_queues().await {
        Ok(queues) => queues,
        Err(error) => return report.stop(failed(CheckName::Queues, &error)),
    };
    let jobs = match known_jobs(orchestrator).await {
        Ok(jobs) => jobs,
        Err(error) => {
            report.add(Finding::bad(CheckName::Jobs, error.to_string()));
            None
        }
    };
    if report.wants(CheckName::Queues) {
        for finding in blockers(orchestrator, &queues, jobs.as_deref(), at).await {
            report.add(finding);
        }
    }
    if report.wants(CheckName::Jobs)
        && let Some(jobs) = &jobs
    {
        leases(jobs, at).into_iter().for_each(|finding| report.add(finding));
    }
    if report.wants(CheckName::Retention) {
        report.add(retention(orchestrator, &queues, at).await);
    }
    if report.wants(CheckName::Figures)
        && let Some(finding) = figures(orchestrator, at).await
    {
        report.add(finding);
    }
}

fn failed(check: CheckName, error: &OrchestratorError) -> Finding {
    let finding = Finding::bad(check, format!("{}", error.with_causes()));
    if error.is_unauthorized() { finding.help("performer access whoami") } else { finding }
}

/// What holds claims back: nothing to do is good, anything else is a warning.
async fn blockers(
    orchestrator: &dyn Administration,
    queues: &[QueueDefinition],
    jobs: Option<&[Job]>,
    at: Timestamp,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for queue in queues {
        let found = async {
            let statistics = orchestrator.queue_statistics(&queue.name).await?;
            read_claim_blockers(orchestrator, queue, &statistics, jobs, at).await
        };
        match found.await {
            Ok(found) => findings.extend(of_queue(&queue.name, &found)),
            Err(error) => findings.push(failed(CheckName::Queues, &error)),
        }
    }
    if findings.is_empty() {
        let text = match queues.len() {
            0 => "there are no queues yet".to_owned(),
            1 => "the queue has nothing to do, or hands items out".to_owned(),
            count => format!("{count} queues have nothing to do, or hand items out"),
        };
        findings.push(Finding::good(CheckName::Queues, text));
    }
    findings
}

fn of_queue(name: &str, found: &[ClaimBlocker]) -> Vec<Finding> {
    if found.contains(&ClaimBlocker::NoNewItems) && !found.contains(&ClaimBlocker::Paused) {
        return Vec::new(); // without items no performer is missing
    }
    let warned = found.iter().filter(|blocker| !matches!(blocker, ClaimBlocker::NoNewItems));
    let finding = |blocker: &ClaimBlocker| {
        let help = match blocker {
            ClaimBlocker::Paused => format!("performer queue resume {name:?}"),
            ClaimBlocker::NoRunningJob | ClaimBlocker::JobsStopping { .. } => {
                format!("performer job list --queue {name:?} --all")
            }
            ClaimBlocker::AllPostponed { .. } => format!("performer item list --queue {name:?} --status New"),
            ClaimBlocker::NoNewItems => String::new(),
            _ => format!("performer queue show {name:?}"),
        };
        Finding::warning(CheckName::Queues, format!("{name}: {blocker}")).help(help)
    };
    warned.map(finding).collect()
}

/// Whether jobs have beaten lately. A job beats several times within its lease.
fn leases(jobs: &[Job], at: Timestamp) -> Vec<Finding> {
    let live: Vec<&Job> = jobs.iter().filter(|job| !job.state.is_final()).collect();
    let mut findings = Vec::new();
    for job in &live {
        let lease = SignedDuration::try_from(job.about.lease).unwrap_or(SignedDuration::MAX);
        let left = job.held_until.duration_since(at);
        let (key, queue) = (job.key, &job.about.queue);
        let help = format!("performer job show {key}");
        if job.is_lost(at) {
            let text = format!(
                "job {key} on {queue:?} has not beaten since its lease ended {} ago; its items are abandoned with the next sweep",
                length(-left.as_secs())
            );
            findings.push(Finding::bad(CheckName::Jobs, text).help(help));
        } else if left < lease / 4 {
            let text = format!(
                "job {key} on {queue:?} has {} left of its lease: it is stopped, or cannot reach the store",
                length(left.as_secs())
            );
            findings.push(Finding::warning(CheckName::Jobs, text).help(help));
        }
    }
    if findings.is_empty() {
        let text = match live.len() {
            0 => "no performer is running".to_owned(),
            1 => "one performer is running, and beats".to_owned(),
            count => format!("{count} performers are running, and beat"),
        };
        findings.push(Finding::good(CheckName::Jobs, text));
    }
    findings
}

async fn retention(orchestrator: &dyn Administration, queues: &[QueueDefinition], at: Timestamp) -> Finding {
    let (mut behind, mut is_exact) = (0, true);
    for queue in queues {
        match expired_at(orchestrator, queue, at - REMOVED_WITHIN).await {
            Ok((count, counted)) => (behind, is_exact) = (behind + count, is_exact && counted),
            Err(error) => return Finding::bad(CheckName::Retention, error.to_string()),
        }
    }
    if behind == 0 {
        return Finding::good(CheckName::Retention, "no item is past its retention for more than a day");
    }
    let more = if is_exact { "" } else { "+" };
    let text = format!(
        "{behind}{more} items are past their retention for more than a day; those whose chains have younger attempts are kept"
    );
    Finding::warning(CheckName::Retention, text).help("performer queue retention --apply 100000")
}

/// How many of the newest items are looked at to find an attempt that ended.
const NEWEST: usize = 100;

/// Whether the minute of the last attempt that ended has figures, among the newest items. Attempts of the last minutes are left out:
/// figures are written about once a second, and with commits.
async fn figures(orchestrator: &dyn Administration, at: Timestamp) -> Option<Finding> {
    let until = at - SignedDuration::from_mins(5);
    let since = at - SignedDuration::from_hours(24);
    let newest = Page::first(NEWEST).descending(true).count_limit(0);
    let last = match orchestrator.list_queue_items(ItemFilter::default(), newest).await {
        Ok(page) => {
            // Reports are counted, and nothing else that ends an attempt.
            let reported = page.items.iter().filter(|item| item.outcome == Some(Outcome::Successful));
            let ended = reported.filter_map(|item| item.end_processing);
            ended.filter(|ended| (since..until).contains(ended)).max()
        }
        Err(error) => return Some(failed(CheckName::Figures, &error)),
    };
    let Some(last) = last else {
        return Some(Finding::good(CheckName::Figures, "nothing has ended lately that figures would have"));
    };
    let minute = minute_of(last);
    let filter = FiguresFilter::new(start_of(minute), start_of(minute + 2));
    match orchestrator.queue_figures(filter).await {
        Ok(figures) if figures.ended.is_empty() => {
            let text = format!("an attempt ended at {last}, and its minute has no figures");
            Some(Finding::warning(CheckName::Figures, text).help("performer stats"))
        }
        Ok(_) => Some(Finding::good(CheckName::Figures, "figures are written")),
        Err(error) if error.kind() == ErrorKind::Unsupported => None,
        Err(error) => Some(failed(CheckName::Figures, &error)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use performer_core::model::job::NewJob;
    use performer_core::model::key::JobKey;

    use super::super::report::Level;
    use super::*;

    #[test]
    fn a_queue_without_items_misses_no_performer() {
        assert_eq!(of_queue("A", &[ClaimBlocker::NoNewItems, ClaimBlocker::NoRunningJob]), []);
        let found = of_queue("A", &[ClaimBlocker::Paused, ClaimBlocker::NoNewItems]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].help.as_deref(), Some("performer queue resume \"A\""));
        assert_eq!(of_queue("A", &[ClaimBlocker::NoRunningJob])[0].level, Level::Warning);
    }

    #[test]
    fn a_job_is_judged_by_what_is_left_of_its_lease() {
        let start = Timestamp::from_second(1_790_000_000).unwrap();
        let job = Job::new(JobKey::CALLER, NewJob::new("A").lease(Duration::from_secs(40)), start);
        let level =
            |second| leases(std::slice::from_ref(&job), start + SignedDuration::from_secs(second))[0].level;
        assert_eq!([level(20), level(35), level(41)], [Level::Good, Level::Warning, Level::Bad]);
        assert_eq!(leases(&[], start)[0].level, Level::Good);
    }
}
