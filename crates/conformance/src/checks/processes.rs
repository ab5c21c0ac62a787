//! Processes are defined, and their jobs given to agents, where a back end says that it has them.

use performer::model::machine::{MachineSettings, NewSession, SessionBeat, SessionState};
use performer::model::process::{ProcessSelector, ProcessSettings, StartJobs};
use performer::model::{ErrorCode, JobEnd, JobState, StopStrategy};
use performer::orchestrator::{ErrorKind, ProcessAdministration, Result};

use crate::Fixture;

fn code<T>(answer: Result<T>) -> u16 {
    answer.err().and_then(|error| error.code()).map_or(0, ErrorCode::number)
}

/// The processes of the back end; `None` if it has none, or gives no jobs to agents.
async fn processes(f: &Fixture) -> Option<&dyn ProcessAdministration> {
    let processes = f.orchestrator.processes()?;
    match processes.list_sessions().await {
        Err(error) if error.kind() == ErrorKind::Unsupported => None,
        _ => Some(processes),
    }
}

fn settings(name: &str) -> ProcessSettings {
    ProcessSettings::new(name, vec!["invoices".to_owned(), "a b".to_owned()])
}

pub(crate) async fn a_process_is_defined_changed_and_deleted(f: Fixture) {
    let Some(processes) = processes(&f).await else { return };
    let mut nightly = settings("Nightly");
    nightly.description = Some("d".to_owned());
    nightly.environment.insert("A".to_owned(), "ä=1".to_owned());
    nightly.input_arguments = Some("{\"a\":1}".to_owned());
    let made = processes.create_process(nightly.clone()).await.unwrap();
    assert_eq!(made.settings, nightly);
    assert_eq!(processes.get_process("NIGHTLY").await.unwrap(), made);
    assert_eq!(code(processes.create_process(settings("nightly")).await), 1001);
    let changed = processes.update_process("Nightly", settings("Daily")).await.unwrap();
    assert_eq!((changed.id, changed.key), (made.id, made.key));
    assert_eq!(changed.settings, settings("Daily"), "what the new settings do not have is removed");
    let names: Vec<String> =
        processes.list_processes().await.unwrap().into_iter().map(|process| process.settings.name).collect();
    assert_eq!(names, ["Daily"]);
    processes.delete_process("daily").await.unwrap();
    assert_eq!(code(processes.delete_process("Daily").await), 1674);
    assert_eq!(code(processes.get_process("Daily").await), 1674);
}

pub(crate) async fn a_job_is_pending_until_an_agent_takes_it(f: Fixture) {
    let Some(processes) = processes(&f).await else { return };
    processes.create_process(settings("Nightly")).await.unwrap();
    processes.create_machine(MachineSettings::new("m")).await.unwrap();
    let start = StartJobs::new(ProcessSelector::Name("nightly".to_owned())).count(3);
    let jobs = processes.start_jobs(start).await.unwrap();
    assert!(jobs.iter().all(|job| job.state == JobState::Pending));
    f.orchestrator.stop_job(jobs[1].key, StopStrategy::SoftStop).await.unwrap();
    let session = processes.open_session(NewSession::new("m", "host").runtimes(2)).await.unwrap();
    let orders = processes.beat_session(session.key, SessionBeat::new(Vec::new(), 2)).await.unwrap();
    let taken: Vec<_> = orders.taken.iter().map(|job| job.key).collect();
    assert_eq!(taken, [jobs[0].key, jobs[2].key], "one was stopped before it ran");
    assert_eq!(orders.taken[0].run.as_ref().unwrap().command, ["invoices", "a b"]);
    let again = processes.beat_session(session.key, SessionBeat::new(vec![jobs[0].key], 1)).await.unwrap();
    assert_eq!(again.taken[0].key, jobs[2].key, "an answer that was lost is given again");
    f.orchestrator.stop_job(jobs[0].key, StopStrategy::Kill).await.unwrap();
    let told = processes.beat_session(session.key, SessionBeat::new(taken.clone(), 0)).await.unwrap();
    assert_eq!(told.states, [(jobs[0].key, JobState::Terminating), (jobs[2].key, JobState::Running)]);
    f.orchestrator.end_job(jobs[0].key, JobEnd::new(JobState::Stopped)).await.unwrap();
    let end = JobEnd::new(JobState::Faulted).info("exit code 3");
    f.orchestrator.end_job(jobs[2].key, end).await.unwrap();
    let told = processes.beat_session(session.key, SessionBeat::new(taken, 0)).await.unwrap();
    assert!(told.states.is_empty(), "they have ended");
    let listed = processes.list_sessions().await.unwrap();
    assert_eq!((listed[0].state, listed[0].running), (SessionState::Available, 0));
    let known = f.orchestrator.list_jobs(10).await.unwrap();
    let mut states: Vec<JobState> = known.iter().map(|job| job.state).collect();
    states.sort_unstable();
    assert_eq!(states, [JobState::Faulted, JobState::Stopped, JobState::Stopped]);
    let restarted = processes.restart_job(jobs[2].key).await.unwrap();
    assert_eq!(restarted.state, JobState::Pending);
    processes.close_session(session.key).await.unwrap();
    assert!(processes.beat_session(session.key, SessionBeat::default()).await.is_err());
}
