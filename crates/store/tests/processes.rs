//! Processes, machines, agents and their jobs in every store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use performer_core::model::audit::{Act, ActSource, Actor, AuditFilter};
use performer_core::model::clock::ManualClock;
use performer_core::model::code::ErrorCode;
use performer_core::model::job::{JobEnd, JobState, NewJob, StopStrategy};
use performer_core::model::key::{FolderId, JobKey};
use performer_core::model::machine::{MachineSettings, NewSession, SessionBeat, SessionOrders, SessionState};
use performer_core::model::process::{
    MAX_PENDING_JOBS, Process, ProcessSelector, ProcessSettings, StartJobs,
};
use performer_core::model::queue::NewQueueDefinition;
use performer_core::orchestrator::{
    FleetAdministration as _, Insight as _, Orchestrator as _, ProcessAdministration as _,
    QueueAdministration as _, Result,
};
use performer_proofs::postgres::Schema;
use performer_store::Store;

const FINANCE: FolderId = FolderId(7);

/// Memory, a file and a database, with one clock.
async fn stores(folder: &Path, schema: &Schema, clock: &Arc<ManualClock>) -> Vec<Store> {
    vec![
        Store::memory_with_clock(clock.clone()),
        Store::sqlite_with_clock(folder.join("a.db"), clock.clone()).await.unwrap(),
        Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap(),
    ]
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new("2026-11-30T12:00:00Z".parse().unwrap()))
}

fn code<T>(answer: Result<T>) -> u16 {
    answer.err().and_then(|error| error.code()).map_or(0, ErrorCode::number)
}

fn settings(name: &str) -> ProcessSettings {
    ProcessSettings::new(name, vec!["invoices".to_owned(), "--robots".to_owned(), "4".to_owned()])
}

fn start(process: &Process, count: usize) -> StartJobs {
    StartJobs::new(ProcessSelector::Key(process.key)).count(count)
}

fn keys(orders: &SessionOrders) -> Vec<JobKey> {
    orders.taken.iter().map(|job| job.key).collect()
}

async fn state(store: &Store, key: JobKey) -> (JobState, String) {
    let job = store.job(key).await.unwrap();
    (job.state, job.info.unwrap_or_default())
}

/// Sweeps as a server does, until leases that nobody moves are over.
async fn sweep_for(store: &Store, clock: &ManualClock, seconds: u64) {
    for _ in 0..seconds {
        clock.advance(Duration::from_secs(1));
        store.sweep().await.unwrap();
    }
}

#[tokio::test]
async fn processes_have_a_life_in_every_store() {
    let (folder, schema, clock) = (tempfile::tempdir().unwrap(), Schema::new(), clock());
    for store in stores(folder.path(), &schema, &clock).await {
        let mut invoices = settings("Invoices");
        invoices.description = Some("posts invoices".to_owned());
        invoices.environment.insert("RUST_LOG".to_owned(), "secret=info".to_owned());
        invoices.input_arguments = Some("{\"limit\":5}".to_owned());
        let made = store.create_process(invoices.clone()).await.unwrap();
        assert_eq!((made.folder, &made.settings), (FolderId::SHARED, &invoices));
        assert_eq!(store.get_process("INVOICES").await.unwrap(), made, "in any case, as it was answered");
        assert_eq!(code(store.create_process(settings("invoices")).await), 1001);
        assert_eq!(code(store.create_process(ProcessSettings::new("X", Vec::new())).await), 1009);
        store.create_process(settings("Alpha")).await.unwrap();

        let finance = store.in_scope(FINANCE, None);
        let other = finance.create_process(settings("Invoices")).await.unwrap();
        assert_ne!(other.id, made.id, "a name of another folder is free");
        assert_eq!(finance.list_processes().await.unwrap(), std::slice::from_ref(&other));
        assert_eq!(code(finance.process(ProcessSelector::Key(made.key)).await), 1674);
        assert_eq!(code(finance.save_process(Some(made.id), settings("X")).await), 1674);
        assert_eq!(code(finance.remove_process(ProcessSelector::Id(made.id)).await), 1674);
        let all = store.processes_in_folders([FolderId::SHARED, FINANCE].into()).await.unwrap();
        let names: Vec<&str> = all.iter().map(|process| process.settings.name.as_str()).collect();
        assert_eq!(names, ["Alpha", "Invoices", "Invoices"]);

        let changed = store.update_process("invoices", settings("Bills")).await.unwrap();
        assert_eq!((changed.id, changed.key, changed.created), (made.id, made.key, made.created));
        assert_eq!(code(store.update_process("Bills", settings("ALPHA")).await), 1001);
        assert_eq!(code(store.get_process("Invoices").await), 1674);
        store.delete_process("Bills").await.unwrap();
        assert_eq!(code(store.delete_process("Bills").await), 1674);
        let again = store.create_process(settings("Bills")).await.unwrap();
        assert!(again.id > other.id, "a number is never used again");
    }
}

#[tokio::test]
async fn jobs_wait_for_an_agent_and_run_under_its_lease() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    let clock = clock();
    for store in stores(folder.path(), &schema, &clock).await {
        let mut with_arguments = settings("Invoices");
        with_arguments.input_arguments = Some("{\"limit\":5}".to_owned());
        let process = store.create_process(with_arguments).await.unwrap();
        let jobs = store.start_jobs(start(&process, 3)).await.unwrap();
        assert!(jobs.iter().all(|job| job.state == JobState::Pending && job.id.0 > 0));
        let run = jobs[0].run.clone().unwrap();
        assert_eq!(run.command, process.settings.command);
        assert_eq!(run.input_arguments.as_deref(), Some("{\"limit\":5}"));
        // Whatever becomes of the process.
        store.update_process("Invoices", settings("Invoices")).await.unwrap();
        assert_eq!(store.job(jobs[0].key).await.unwrap().run.unwrap(), run);
        sweep_for(&store, &clock, 100).await;
        assert_eq!(state(&store, jobs[0].key).await.0, JobState::Pending, "nobody has to beat for it");
        assert!(store.list_robots().await.unwrap().is_empty());

        let session = store.open_session(NewSession::new("Host 1", "host-1").runtimes(2)).await.unwrap();
        let orders = store.beat_session(session.key, SessionBeat::new(Vec::new(), 2)).await.unwrap();
        assert_eq!(
            keys(&orders),
            [jobs[0].key, jobs[1].key],
            "the oldest first, as many as there is room for"
        );
        let taken = store.job(jobs[0].key).await.unwrap();
        assert_eq!((taken.state, taken.about.machine.as_str()), (JobState::Running, "host-1"));
        assert_eq!(taken.start_time, orders.taken[0].start_time);
        assert_eq!(taken.run.as_ref().unwrap().session, Some(session.id));
        let again = store.beat_session(session.key, SessionBeat::new(Vec::new(), 2)).await.unwrap();
        assert_eq!(keys(&again), keys(&orders), "an answer that was lost is given again");
        let one = store.beat_session(session.key, SessionBeat::new(vec![jobs[1].key], 1)).await.unwrap();
        assert_eq!(keys(&one), [jobs[0].key]);
        let listed = store.list_sessions().await.unwrap();
        assert_eq!((listed[0].state, listed[0].running), (SessionState::Busy, 2));
        assert_eq!(listed[0].machine_name, "Host 1");
        assert_eq!(code(store.delete_process("Invoices").await), 1666, "jobs of it run");
        assert_eq!(code(store.delete_machine("host 1").await), 1206, "an agent of it is connected");

        // Beats keep its jobs, and tell what is wanted of them.
        let running = vec![jobs[0].key, jobs[1].key];
        for _ in 0..6 {
            sweep_for(&store, &clock, 10).await;
            let orders = store.beat_session(session.key, SessionBeat::new(running.clone(), 0)).await.unwrap();
            assert_eq!(
                orders.states,
                running.iter().map(|key| (*key, JobState::Running)).collect::<Vec<_>>()
            );
            assert!(orders.taken.is_empty(), "there is no room");
        }
        store.stop_job(jobs[0].key, StopStrategy::SoftStop).await.unwrap();
        store.stop_job(jobs[1].key, StopStrategy::Kill).await.unwrap();
        let orders = store.beat_session(session.key, SessionBeat::new(running, 0)).await.unwrap();
        assert_eq!(orders.states, [(jobs[0].key, JobState::Stopping), (jobs[1].key, JobState::Terminating)]);
        store.end_job(jobs[0].key, JobEnd::new(JobState::Stopped)).await.unwrap();
        let beat = SessionBeat::new(vec![jobs[0].key, jobs[1].key], 0);
        let orders = store.beat_session(session.key, beat).await.unwrap();
        assert_eq!(orders.states, [(jobs[1].key, JobState::Terminating)], "what ended is absent");
        store.end_job(jobs[1].key, JobEnd::new(JobState::Faulted).info("exit code 3")).await.unwrap();
        assert_eq!(state(&store, jobs[1].key).await, (JobState::Faulted, "exit code 3".to_owned()));

        // Without beats the job and the session are over.
        let orders = store.beat_session(session.key, SessionBeat::new(Vec::new(), 2)).await.unwrap();
        assert_eq!(keys(&orders), [jobs[2].key]);
        sweep_for(&store, &clock, 90).await;
        let (end, why) = state(&store, jobs[2].key).await;
        assert_eq!((end, why.as_str()), (JobState::Faulted, "it did not beat within its lease"));
        let listed = store.list_sessions().await.unwrap();
        assert_eq!((listed[0].state, listed[0].is_unresponsive), (SessionState::Disconnected, false));
        sweep_for(&store, &clock, 60).await;
        assert!(store.list_sessions().await.unwrap()[0].is_unresponsive);
        let orders = store.beat_session(session.key, SessionBeat::new(vec![jobs[2].key], 0)).await.unwrap();
        assert!(orders.states.is_empty(), "the agent was away: it has to end the program");
        store.close_session(session.key).await.unwrap();
        let closed = store.beat_session(session.key, SessionBeat::default()).await.unwrap_err();
        assert!(closed.is_claim_lost(), "{closed}");
        store.delete_machine("host 1").await.unwrap();
        assert!(store.list_sessions().await.unwrap().is_empty(), "they belong to the machine");
        store.delete_process("Invoices").await.unwrap();
    }
}

#[tokio::test]
async fn a_job_is_given_to_one_agent() {
    let (folder, schema, clock) = (tempfile::tempdir().unwrap(), Schema::new(), clock());
    let mut all = stores(folder.path(), &schema, &clock).await;
    // A second process on the file and on the database.
    let [memory, file, database] = &mut all[..] else { unreachable!("three stores") };
    let others = [
        memory.clone(),
        Store::sqlite_with_clock(folder.path().join("a.db"), clock.clone()).await.unwrap(),
        Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap(),
    ];
    for (store, other) in [&*memory, &*file, &*database].into_iter().zip(others) {
        let process = store.create_process(settings("Invoices")).await.unwrap();
        let jobs = store.start_jobs(start(&process, 60)).await.unwrap();
        let mut agents = Vec::new();
        for at in 0..6 {
            let store = if at % 2 == 0 { store.clone() } else { other.clone() };
            let session = store.open_session(NewSession::new("m", format!("host-{at}"))).await.unwrap();
            agents.push(tokio::spawn(async move {
                let mut taken = Vec::new();
                loop {
                    let beat = SessionBeat::new(taken.clone(), 1);
                    let orders = store.beat_session(session.key, beat).await.unwrap();
                    if orders.taken.is_empty() {
                        return taken;
                    }
                    taken.extend(keys(&orders));
                }
            }));
        }
        let mut taken = Vec::new();
        for agent in agents {
            taken.extend(agent.await.unwrap());
        }
        let mut expected: Vec<JobKey> = jobs.iter().map(|job| job.key).collect();
        taken.sort_unstable();
        expected.sort_unstable();
        assert_eq!(taken, expected, "each job once");
    }
}

#[tokio::test]
async fn a_job_is_taken_where_it_may_run() {
    let (folder, schema, clock) = (tempfile::tempdir().unwrap(), Schema::new(), clock());
    for store in stores(folder.path(), &schema, &clock).await {
        let process = store.create_process(settings("Invoices")).await.unwrap();
        let mut bound = start(&process, 1);
        bound.machine = Some("MACHINE B".to_owned());
        let job = store.start_jobs(bound).await.unwrap().remove(0);
        let a = store.open_session(NewSession::new("Machine A", "a")).await.unwrap();
        let b = store.open_session(NewSession::new("Machine B", "b")).await.unwrap();
        let beat = || SessionBeat::new(Vec::new(), 5);
        assert!(store.beat_session(a.key, beat()).await.unwrap().taken.is_empty());
        store.set_session_maintenance(b.id, true).await.unwrap();
        assert!(store.beat_session(b.key, beat()).await.unwrap().taken.is_empty());
        store.set_session_maintenance(b.id, false).await.unwrap();
        // Agents of other folders and users have neither the session nor the job.
        let finance = store.in_scope(FINANCE, Some(5));
        assert!(finance.beat_session(b.key, beat()).await.unwrap_err().is_not_found());
        assert!(finance.close_session(b.key).await.unwrap_err().is_not_found());
        let theirs = finance.open_session(NewSession::new("Machine B", "c")).await.unwrap();
        assert!(finance.beat_session(theirs.key, beat()).await.unwrap().taken.is_empty());
        assert_eq!(keys(&store.beat_session(b.key, beat()).await.unwrap()), [job.key]);
        // A beat moves only jobs of its own.
        let orders = store.beat_session(a.key, SessionBeat::new(vec![job.key], 0)).await.unwrap();
        assert!(orders.states.is_empty());
        let missing = store.open_agent_session(NewSession::new("Machine C", "c"), false).await.unwrap_err();
        assert!(missing.is_not_found());
        let listed = store.list_sessions().await.unwrap();
        store.delete_inactive_sessions(vec![a.id]).await.unwrap();
        assert_eq!(store.list_sessions().await.unwrap().len(), listed.len(), "it is connected");
        store.close_session(a.key).await.unwrap();
        store.delete_inactive_sessions(vec![a.id]).await.unwrap();
        assert_eq!(store.list_sessions().await.unwrap().len(), listed.len() - 1);
        assert!(store.delete_inactive_sessions(vec![a.id]).await.unwrap_err().is_not_found());
    }
}

#[tokio::test]
async fn jobs_are_stopped_before_they_run_and_started_again() {
    let (folder, schema, clock) = (tempfile::tempdir().unwrap(), Schema::new(), clock());
    for store in stores(folder.path(), &schema, &clock).await {
        let process = store.create_process(settings("Invoices")).await.unwrap();
        let mut asked = start(&process, 1).input_arguments(Some("{\"a\":1}".to_owned()));
        asked.reference = Some("R-1".to_owned());
        let job = store.start_jobs(asked).await.unwrap().remove(0);
        assert_eq!(code(store.restart_job(job.key).await), 1300, "it has not ended");
        store.stop_job(job.key, StopStrategy::SoftStop).await.unwrap();
        let (end, why) = state(&store, job.key).await;
        assert_eq!((end, why.as_str()), (JobState::Stopped, "it was stopped before it ran"));
        assert_eq!(code(store.stop_job(job.key, StopStrategy::Kill).await), 1659);
        let session = store.open_session(NewSession::new("m", "h")).await.unwrap();
        let orders = store.beat_session(session.key, SessionBeat::new(Vec::new(), 5)).await.unwrap();
        assert!(orders.taken.is_empty(), "it was stopped");

        let again = store.restart_job(job.key).await.unwrap();
        assert!(again.key != job.key && again.id > job.id && again.state == JobState::Pending);
        let run = again.run.unwrap();
        assert_eq!(
            (run.input_arguments.as_deref(), run.reference.as_deref()),
            (Some("{\"a\":1}"), Some("R-1"))
        );
        assert_eq!(code(store.delete_process("Invoices").await), 1666, "a job of it waits");
        store.stop_job(again.key, StopStrategy::Kill).await.unwrap();
        store.delete_process("Invoices").await.unwrap();
        assert_eq!(code(store.restart_job(again.key).await), 1661);
        let finance = store.in_scope(FINANCE, Some(5));
        assert!(finance.restart_job(again.key).await.unwrap_err().is_not_found());

        store.create_queue(NewQueueDefinition::new("Q")).await.unwrap();
        let performer = store.start_job(NewJob::new("Q")).await.unwrap();
        assert_eq!(code(store.restart_job(performer).await), 1300, "nobody knows how it was started");
    }
}

#[tokio::test]
async fn starts_that_are_wrong_are_refused() {
    let (folder, schema, clock) = (tempfile::tempdir().unwrap(), Schema::new(), clock());
    for store in stores(folder.path(), &schema, &clock).await {
        let process = store.create_process(settings("Invoices")).await.unwrap();
        assert_eq!(code(store.start_jobs(start(&process, 0)).await), 1015);
        let bad = start(&process, 1).input_arguments(Some("[]".to_owned()));
        assert_eq!(code(store.start_jobs(bad).await), 1009);
        let unknown = StartJobs::new(ProcessSelector::Name("Nothing".to_owned()));
        assert_eq!(code(store.start_jobs(unknown).await), 1674);
        let finance = store.in_scope(FINANCE, None);
        assert_eq!(code(finance.start_jobs(start(&process, 1)).await), 1674, "of another folder");
        assert!(store.list_jobs(10).await.unwrap().is_empty(), "what is refused starts nothing");
    }
    // That too many wait needs many jobs: in memory alone.
    let store = Store::memory();
    let process = store.create_process(settings("Invoices")).await.unwrap();
    for _ in 0..MAX_PENDING_JOBS / 1_000 {
        store.start_jobs(start(&process, 1_000)).await.unwrap();
    }
    assert_eq!(code(store.start_jobs(start(&process, 1)).await), 1670);
}

#[tokio::test]
async fn machines_have_a_life_in_every_store() {
    let (folder, schema, clock) = (tempfile::tempdir().unwrap(), Schema::new(), clock());
    for store in stores(folder.path(), &schema, &clock).await {
        let mut about = MachineSettings::new("Host 1");
        about.description = Some("in the basement".to_owned());
        let made = store.create_machine(about.clone()).await.unwrap();
        assert_eq!(made.settings, about);
        assert_eq!(store.machine(made.id).await.unwrap(), made);
        assert_eq!(code(store.create_machine(MachineSettings::new("HOST 1")).await), 1001);
        assert_eq!(code(store.create_machine(MachineSettings::new(" ")).await), 1204);
        let renamed = store.save_machine(Some(made.id), MachineSettings::new("Host 2")).await.unwrap();
        assert_eq!((renamed.key, renamed.settings.name.as_str()), (made.key, "Host 2"));
        assert_eq!(store.list_machines().await.unwrap(), [renamed]);
        store.delete_machine("host 2").await.unwrap();
        for gone in [
            store.delete_machine("host 2").await,
            store.machine(made.id).await.map(drop),
            store.delete_machines(vec![made.id]).await,
            store.save_machine(Some(made.id), about.clone()).await.map(drop),
        ] {
            assert!(gone.unwrap_err().is_not_found());
        }
    }
}

#[tokio::test]
async fn the_audit_names_what_people_did_and_no_values_of_variables() {
    let store = Store::memory_with_clock(clock());
    let mut invoices = settings("Invoices");
    invoices.environment.insert("TOKEN".to_owned(), "hunter2".to_owned());
    let actor = Actor::new(ActSource::Api);
    let store = store.acting_as(actor);
    let process = store.create_process(invoices).await.unwrap();
    store.start_jobs(start(&process, 2)).await.unwrap();
    store.create_machine(MachineSettings::new("m")).await.unwrap();
    store.delete_machine("m").await.unwrap();
    let records = store.list_audit(AuditFilter::default()).await.unwrap();
    let acts: Vec<Act> = records.iter().rev().map(|record| record.entry.act).collect();
    assert_eq!(acts, [Act::ProcessCreated, Act::JobsStarted, Act::MachineCreated, Act::MachineDeleted]);
    let text: String = records.iter().map(|record| record.text.as_ref().to_owned()).collect();
    assert!(text.contains("TOKEN") && !text.contains("hunter2"), "{text}");
}
