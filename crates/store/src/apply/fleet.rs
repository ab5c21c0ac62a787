//! Changes of processes and machines, the sessions of agents, and the jobs that they are given.

use serde_json::Value;

use super::super::backend::Answer;
use super::super::fleet::{
    FleetAnswer, FleetDocument, FleetKind, FleetOperation, FleetQuery, documents, is_meant, no_process,
};
use super::super::rows::Rows;
use super::{Applied, Apply, ApplyError, no_job};
use performer_core::crash_point;
use performer_core::model::Refusal;
use performer_core::model::audit::{Act, FieldChange};
use performer_core::model::code::ErrorCode;
use performer_core::model::job::{Job, JobSource, JobState};
use performer_core::model::key::{JobKey, SessionKey};
use performer_core::model::machine::{
    ListedSession, MAX_MACHINES, MAX_SESSIONS, Machine, MachineId, MachineSettings, NewSession, Session,
    SessionBeat, SessionId, SessionOrders,
};
use performer_core::model::process::{
    MAX_PENDING_JOBS, MAX_PROCESSES, Process, ProcessId, ProcessSelector, ProcessSettings, StartJobs,
};
use performer_core::model::queue::folded;
use performer_core::model::stored_time::stored;
use performer_core::orchestrator::{OrchestratorError, Result};

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Applied<T> {
    Err(Refusal::new(code, message).into())
}

fn no_session(which: impl std::fmt::Display) -> ApplyError {
    ApplyError::Refused(OrchestratorError::not_found(format!("session {which} does not exist")))
}

impl<R: Rows> Apply<'_, R> {
    pub(super) fn change_fleet(&mut self, operation: FleetOperation) -> Applied {
        self.rows.lock_fleet()?;
        let answer = match operation {
            FleetOperation::SaveProcess { id, settings } => self.save_process(id, settings)?,
            FleetOperation::DeleteProcess(which) => self.delete_process(&which)?,
            FleetOperation::SaveMachine { id, settings } => self.save_machine(id, settings)?,
            FleetOperation::DeleteMachines(ids) => self.delete_machines(&ids)?,
            FleetOperation::StartJobs(start) => FleetAnswer::Jobs(self.start_jobs(&start)?),
            FleetOperation::RestartJob(job) => self.restart_job(job)?,
            FleetOperation::OpenSession { agent, may_create_machine } => {
                self.open_session(agent, may_create_machine)?
            }
            FleetOperation::BeatSession { key, beat } => self.beat_session(key, &beat)?,
            FleetOperation::CloseSession(key) => self.close_session(key)?,
            FleetOperation::SetMaintenance { id, on } => self.set_maintenance(id, on)?,
            FleetOperation::DeleteSessions(ids) => self.delete_sessions(&ids)?,
        };
        Ok(answer.into())
    }

    // Documents

    /// Refuses a name that another document of the kind has in the same folder.
    fn check_fleet_name<T: FleetDocument>(&self, all: &[T], new: &T) -> Applied<()> {
        let (name, folder) = (folded(new.name()), new.folder());
        let is_taken =
            |other: &T| other.id() != new.id() && other.folder() == folder && folded(other.name()) == name;
        if all.iter().any(is_taken) {
            return refuse(
                ErrorCode::NAME_ALREADY_USED,
                format!("the name {:?} is already used", new.name()),
            );
        }
        Ok(())
    }

    /// Writes a document; one without a number is new.
    fn put_fleet<T: FleetDocument>(&mut self, document: &mut T) -> Result<()> {
        if document.id() == 0 {
            let id = self.rows.insert_fleet(T::KIND, &document.to_text()?)?;
            document.set_id(id);
            return Ok(());
        }
        self.rows.write_fleet(document.id(), &document.to_text()?)
    }

    // Processes

    fn process_here(&mut self, which: &ProcessSelector) -> Applied<Process> {
        let folder = self.scope.folder;
        let all: Vec<Process> = documents(self.rows)?;
        let found = all.into_iter().find(|process| process.folder == folder && is_meant(process, which));
        found.ok_or_else(|| ApplyError::Refused(no_process(which)))
    }

    fn save_process(&mut self, id: Option<ProcessId>, settings: ProcessSettings) -> Applied<FleetAnswer> {
        let all: Vec<Process> = documents(self.rows)?;
        let before = id.map(|id| self.process_here(&ProcessSelector::Id(id))).transpose()?;
        let now = stored(self.now);
        let mut process = match &before {
            Some(before) => before.clone().with(settings, now),
            None if all.len() >= MAX_PROCESSES => {
                let message = format!("the store has {MAX_PROCESSES} processes already; delete some first");
                return refuse(ErrorCode::INVALID_ARGUMENT, message);
            }
            None => {
                let key = self.rows.keys().process(now);
                Process::new(key, self.scope.folder, settings, now)
            }
        };
        self.check_fleet_name(&all, &process)?;
        self.put_fleet(&mut process)?;
        let act = if before.is_some() { Act::ProcessEdited } else { Act::ProcessCreated };
        self.note_process(act, before.as_ref(), Some(&process));
        Ok(FleetAnswer::of(&process)?)
    }

    fn delete_process(&mut self, which: &ProcessSelector) -> Applied<FleetAnswer> {
        let process = self.process_here(which)?;
        let mut jobs = self.rows.live_jobs()?;
        jobs.extend(self.rows.pending_jobs(Some(process.folder), MAX_PENDING_JOBS)?);
        if jobs.iter().any(|job| job.run.as_ref().is_some_and(|run| run.process == process.id)) {
            let message = format!("jobs of process {:?} have not ended", process.settings.name);
            return refuse(ErrorCode::HAS_RUNNING_JOBS, message);
        }
        self.rows.delete_fleet(process.id.0)?;
        self.note_process(Act::ProcessDeleted, Some(&process), None);
        Ok(FleetAnswer::Done)
    }

    /// The names of variables are recorded, and not their values, which may be secret.
    fn note_process(&mut self, act: Act, before: Option<&Process>, after: Option<&Process>) {
        let values = |process: &Process| {
            let settings = &process.settings;
            [
                ("Name", Value::from(settings.name.as_str())),
                ("Description", settings.description.as_deref().into()),
                ("Command", Value::from(settings.command.clone())),
                ("EnvironmentVariables", settings.environment.keys().cloned().collect()),
                ("InputArguments", settings.input_arguments.as_deref().into()),
            ]
        };
        self.note_fleet(act, "process", before.map(values).as_ref(), after.map(values).as_ref());
    }

    /// Records which values were changed. The first one is the name.
    fn note_fleet<const N: usize>(
        &mut self,
        act: Act,
        kind: &str,
        before: Option<&[(&str, Value); N]>,
        after: Option<&[(&str, Value); N]>,
    ) {
        let Some(names) = before.or(after) else { return };
        let value = |side: Option<&[(&str, Value); N]>, at: usize| {
            side.map_or(Value::Null, |values| values[at].1.clone())
        };
        let changes: Vec<FieldChange> = names
            .iter()
            .enumerate()
            .filter(|(at, _)| value(before, *at) != value(after, *at))
            .map(|(at, (name, _))| FieldChange::new(name, value(before, at), value(after, at)))
            .collect();
        if !changes.is_empty() {
            let subject = format!("{kind} {}", names[0].1.as_str().unwrap_or_default());
            self.note_act(act, subject, Vec::new(), changes);
        }
    }

    // Jobs

    /// Starts jobs of a process: they wait for a machine.
    pub(super) fn start_jobs(&mut self, start: &StartJobs) -> Applied<Vec<Job>> {
        let process = self.process_here(&start.process)?;
        let folder = self.scope.folder;
        let waiting = self.rows.pending_jobs(Some(folder), MAX_PENDING_JOBS)?.len();
        if waiting + start.count > MAX_PENDING_JOBS {
            let message =
                format!("{waiting} jobs of the folder wait already; at most {MAX_PENDING_JOBS} can wait");
            return refuse(ErrorCode::PENDING_JOBS_ALREADY_EXIST, message);
        }
        let now = stored(self.now);
        let run = process.run(start, now)?;
        let mut jobs = Vec::with_capacity(start.count);
        for _ in 0..start.count {
            let key = self.rows.keys().job(now);
            self.rows.insert_job(&Job::pending(key, folder, run.clone(), now), false)?;
            let job = self.rows.job(key)?; // with its number
            jobs.push(job.ok_or_else(|| no_job(key))?);
        }
        if start.source == JobSource::Manual {
            let count = FieldChange::new("JobsCount", None, Value::from(start.count));
            let subject = format!("process {}", process.settings.name);
            self.note_act(Act::JobsStarted, subject, Vec::new(), vec![count]);
        }
        Ok(jobs)
    }

    fn restart_job(&mut self, key: JobKey) -> Applied<FleetAnswer> {
        let job = self.rows.job(key)?;
        let job = self.known_job(key, job)?;
        let Some(run) = &job.run else {
            let message = format!("job {key} is a run of a performer: start the performer again instead");
            return refuse(ErrorCode::SERVER_CONFLICT, message);
        };
        if !job.state.is_final() {
            let message = format!("cannot restart a job with status {}: it has not ended", job.state);
            return refuse(ErrorCode::SERVER_CONFLICT, message);
        }
        let mut start = StartJobs::new(ProcessSelector::Id(run.process));
        start.input_arguments.clone_from(&run.input_arguments);
        start.reference.clone_from(&run.reference);
        start.machine.clone_from(&run.machine);
        match self.start_jobs(&start) {
            Err(ApplyError::Refused(error)) if error.is_not_found() => {
                let message = format!("process {:?} does not exist any more", run.process_name);
                refuse(ErrorCode::PROCESS_NOT_FOUND, message)
            }
            started => started.map(FleetAnswer::Jobs),
        }
    }

    // Machines

    fn save_machine(&mut self, id: Option<MachineId>, settings: MachineSettings) -> Applied<FleetAnswer> {
        let all: Vec<Machine> = documents(self.rows)?;
        let missing = |id: MachineId| {
            ApplyError::Refused(OrchestratorError::not_found(format!("machine {id} does not exist")))
        };
        let before = match id {
            Some(id) => Some(all.iter().find(|machine| machine.id == id).ok_or_else(|| missing(id))?.clone()),
            None => None,
        };
        let now = stored(self.now);
        let mut machine = match &before {
            Some(before) => before.clone().with(settings),
            None if all.len() >= MAX_MACHINES => {
                let message = format!("the store has {MAX_MACHINES} machines already; delete some first");
                return refuse(ErrorCode::INVALID_ARGUMENT, message);
            }
            None => Machine::new(self.rows.keys().machine(now), settings, now),
        };
        self.check_fleet_name(&all, &machine)?;
        self.put_fleet(&mut machine)?;
        let act = if before.is_some() { Act::MachineEdited } else { Act::MachineCreated };
        self.note_machine(act, before.as_ref(), Some(&machine));
        Ok(FleetAnswer::of(&machine)?)
    }

    fn delete_machines(&mut self, ids: &[MachineId]) -> Applied<FleetAnswer> {
        let all: Vec<Machine> = documents(self.rows)?;
        let sessions: Vec<Session> = documents(self.rows)?;
        for id in ids {
            let Some(machine) = all.iter().find(|machine| machine.id == *id) else {
                return refuse(ErrorCode::ITEM_NOT_FOUND, format!("machine {id} does not exist"));
            };
            let now = self.now;
            if sessions.iter().any(|session| session.machine == *id && session.is_connected(now)) {
                let message = format!("an agent of machine {:?} is connected", machine.settings.name);
                return refuse(ErrorCode::CANNOT_DELETE_BUSY_ROBOT, message);
            }
            self.rows.delete_fleet(id.0)?;
            self.note_machine(Act::MachineDeleted, Some(machine), None);
        }
        for session in sessions.iter().filter(|session| ids.contains(&session.machine)) {
            self.rows.delete_fleet(session.id.0)?;
        }
        Ok(FleetAnswer::Done)
    }

    fn note_machine(&mut self, act: Act, before: Option<&Machine>, after: Option<&Machine>) {
        let values = |machine: &Machine| {
            let settings = &machine.settings;
            [
                ("Name", Value::from(settings.name.as_str())),
                ("Description", settings.description.as_deref().into()),
            ]
        };
        self.note_fleet(act, "machine", before.map(values).as_ref(), after.map(values).as_ref());
    }

    // Sessions

    fn open_session(&mut self, agent: NewSession, may_create_machine: bool) -> Applied<FleetAnswer> {
        let machines: Vec<Machine> = documents(self.rows)?;
        let wanted = folded(&agent.machine);
        let machine = match machines.iter().find(|machine| folded(&machine.settings.name) == wanted) {
            Some(machine) => machine.id,
            None if may_create_machine => {
                match self.save_machine(None, MachineSettings::new(agent.machine.as_str()))? {
                    FleetAnswer::Document(id, _) => MachineId(id),
                    other => unreachable!("a machine was made, not {other:?}"),
                }
            }
            None => {
                let message = format!("machine {:?} does not exist", agent.machine);
                return refuse(ErrorCode::ITEM_NOT_FOUND, message);
            }
        };
        let now = stored(self.now);
        let mut sessions: Vec<Session> = documents(self.rows)?;
        for old in sessions.iter().filter(|session| session.is_old(now)) {
            self.rows.delete_fleet(old.id.0)?;
        }
        sessions.retain(|session| !session.is_old(now));
        if sessions.len() >= MAX_SESSIONS {
            let message =
                format!("the store has {MAX_SESSIONS} sessions already; delete inactive ones first");
            return refuse(ErrorCode::UNAVAILABLE_RESOURCES, message);
        }
        let key = self.rows.keys().session(now);
        let of = (machine, self.scope.folder, self.scope.user);
        let mut session = Session::new(key, of, agent, now);
        self.put_fleet(&mut session)?;
        Ok(FleetAnswer::of(&session)?)
    }

    /// The session with a key, of the caller.
    fn own_session(&mut self, key: SessionKey) -> Applied<Session> {
        let (folder, user) = (self.scope.folder, self.scope.user);
        let all: Vec<Session> = documents(self.rows)?;
        let own = |session: &Session| session.key == key && session.folder == folder && session.user == user;
        all.into_iter().find(own).ok_or_else(|| no_session(key))
    }

    fn beat_session(&mut self, key: SessionKey, beat: &SessionBeat) -> Applied<FleetAnswer> {
        let mut session = self.own_session(key)?;
        if session.beat(self.now)? {
            self.put_fleet(&mut session)?;
        }
        let mut states = Vec::with_capacity(beat.running.len());
        for job in &beat.running {
            let Some(mut job) = self.rows.job(*job)?.filter(|job| is_run_by(job, &session)) else { continue };
            // A third of a lease is written at once, so that an agent can beat often.
            let held_until = job.held_until;
            let Ok(state) = job.beat(self.now) else { continue };
            if job.held_until.duration_since(held_until)
                >= (session.lease() / 3).try_into().unwrap_or_default()
            {
                self.rows.write_job(&job)?;
            }
            states.push((job.key, state));
        }
        let taken = self.take_jobs(&session, beat)?;
        Ok(FleetAnswer::Orders(SessionOrders::new(states, taken)))
    }

    /// Gives an agent jobs that wait, the oldest first. Nobody else can give them to another agent meanwhile.
    ///
    /// What it was given already and does not name, it does not know of: the answer was lost, and is given again.
    fn take_jobs(&mut self, session: &Session, beat: &SessionBeat) -> Applied<Vec<Job>> {
        let room = beat.room as usize;
        if room == 0 {
            return Ok(Vec::new());
        }
        let mut taken = self.rows.live_jobs()?;
        taken.retain(|job| is_run_by(job, session) && !beat.running.contains(&job.key));
        taken.sort_by_key(|job| job.id); // as they were given the first time
        taken.truncate(room);
        if session.in_maintenance {
            return Ok(taken);
        }
        let waiting = self.rows.pending_jobs(Some(session.folder), MAX_PENDING_JOBS)?;
        let machine = session.agent.machine.as_str();
        let fitting = waiting.into_iter().filter(|job| job.run.as_ref().is_some_and(|run| run.fits(machine)));
        let fitting: Vec<Job> = fitting.take(room - taken.len()).collect();
        for mut job in fitting {
            job.take(session, stored(self.now));
            self.rows.write_job(&job)?;
            self.tell_job(&job);
            crash_point!(within "after_job");
            taken.push(job);
        }
        Ok(taken)
    }

    fn close_session(&mut self, key: SessionKey) -> Applied<FleetAnswer> {
        let mut session = self.own_session(key)?;
        session.closed = Some(stored(self.now));
        self.put_fleet(&mut session)?;
        Ok(FleetAnswer::Done)
    }

    fn session_with_id(&mut self, id: SessionId) -> Applied<Session> {
        let text = self.rows.fleet_one(FleetKind::Session, id.0)?.ok_or_else(|| no_session(id))?;
        Ok(Session::of_text(id.0, &text)?)
    }

    fn set_maintenance(&mut self, id: SessionId, on: bool) -> Applied<FleetAnswer> {
        let mut session = self.session_with_id(id)?;
        session.in_maintenance = on;
        self.put_fleet(&mut session)?;
        Ok(FleetAnswer::Done)
    }

    fn delete_sessions(&mut self, ids: &[SessionId]) -> Applied<FleetAnswer> {
        for id in ids {
            if !self.session_with_id(*id)?.is_connected(self.now) {
                self.rows.delete_fleet(id.0)?;
            }
        }
        Ok(FleetAnswer::Done)
    }
}

fn is_run_by(job: &Job, session: &Session) -> bool {
    job.run.as_ref().is_some_and(|run| run.session == Some(session.id))
}

pub(super) fn answer<R: Rows>(rows: &mut R, query: &FleetQuery) -> Result<Answer> {
    let answer = match query {
        FleetQuery::Documents(kind) => FleetAnswer::Documents(rows.fleet(*kind)?),
        FleetQuery::Sessions(now) => {
            let now = rows.reading_at(*now)?;
            let mut running = rows.live_jobs()?;
            running.retain(|job| job.state != JobState::Pending);
            let machines: Vec<Machine> = documents(rows)?;
            let sessions: Vec<Session> = documents(rows)?;
            let listed = sessions.into_iter().map(|session| {
                let count = running.iter().filter(|job| is_run_by(job, &session)).count();
                let machine = machines.iter().find(|machine| machine.id == session.machine);
                let name = machine.map_or(&session.agent.machine, |machine| &machine.settings.name).clone();
                ListedSession::new(session, name, count, now)
            });
            FleetAnswer::Sessions(listed.collect())
        }
    };
    Ok(answer.into())
}
