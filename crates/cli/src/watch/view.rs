//! What a key does, and the lines of the screen.

use console::Key;
use performer_core::model::robot::RobotState;

use super::super::output::{self, Column};
use super::snapshot::Snapshot;

/// What the screen shows besides the state of the queues.
#[derive(Debug, Default)]
pub(super) struct View {
    selected: usize,
    /// Nothing is read until the space bar is pressed again.
    pub(super) is_frozen: bool,
    is_open: bool,
    /// The queue that is paused or resumed if p is pressed once more.
    armed: Option<String>,
    /// What is told of the selected queue.
    pub(super) details: Vec<String>,
    /// Why an act failed.
    pub(super) message: Option<String>,
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    Quit,
    /// Pauses this queue, or resumes it.
    Pause(String, bool),
}

const COLUMNS: [Column; 9] = [
    Column::plain(" "),
    Column::text("QUEUE"),
    Column::status("STATE"),
    Column::plain("NEW"),
    Column::plain("IN PROGRESS"),
    Column::plain("SUCCESSFUL"),
    Column::plain("BUSINESS"),
    Column::plain("APPLICATION"),
    Column::plain("PER SECOND"),
];

const ROBOTS: [Column; 5] = [
    Column::plain("JOB"),
    Column::plain("ROBOT"),
    Column::status("STATE"),
    Column::text("REFERENCE"),
    Column::plain("SINCE"),
];

const FAILURES: [Column; 5] = [
    Column::plain("FAILED"),
    Column::text("QUEUE"),
    Column::text("REFERENCE"),
    Column::plain("ENDED"),
    Column::text("REASON"),
];

impl View {
    /// Changes the view, or asks for an act.
    pub(super) fn key(&mut self, key: &Key, snapshot: &Snapshot) -> Option<Act> {
        self.message = None;
        let armed = self.armed.take();
        let last = snapshot.queues.len().saturating_sub(1);
        match key {
            Key::Char('q') | Key::Escape | Key::CtrlC => return Some(Act::Quit),
            Key::Char(' ') => self.is_frozen = !self.is_frozen,
            Key::ArrowUp => self.selected = self.selected.min(last).saturating_sub(1),
            Key::ArrowDown => self.selected = (self.selected + 1).min(last),
            Key::Enter => self.is_open = !self.is_open,
            Key::Char('p') => {
                let queue = snapshot.queues.get(self.selected)?;
                if armed.as_ref() == Some(&queue.name) {
                    return Some(Act::Pause(queue.name.clone(), !queue.is_paused));
                }
                self.armed = Some(queue.name.clone());
            }
            _ => {}
        }
        None
    }

    /// The queue whose details are to be read.
    pub(super) fn wants_details(&mut self, snapshot: &Snapshot) -> Option<String> {
        self.selected = self.selected.min(snapshot.queues.len().saturating_sub(1));
        self.details.clear();
        snapshot.queues.get(self.selected).filter(|_| self.is_open).map(|queue| queue.name.clone())
    }

    /// The lines of a screen of this size.
    pub(super) fn lines(&self, snapshot: &Snapshot, width: usize, height: usize) -> Vec<String> {
        let time = snapshot.time.map(|at| at.strftime("%H:%M:%S UTC").to_string()).unwrap_or_default();
        let frozen = if self.is_frozen { "  (stopped: space goes on)" } else { "" };
        let mut lines = vec![format!("performer watch  {time}{frozen}"), String::new()];
        lines.extend(snapshot.error.iter().map(|error| format!("not read: {}", output::printable(error))));
        lines.extend(output::table_lines(&COLUMNS, &self.queues(snapshot), width));
        lines.extend(self.details.iter().map(|text| format!("    {}", output::printable(text))));
        let robots = robots(snapshot);
        if !robots.is_empty() {
            lines.push(String::new());
            lines.extend(output::table_lines(&ROBOTS, &robots, width));
        }
        if !snapshot.failures.is_empty() {
            lines.push(String::new());
            lines.extend(output::table_lines(&FAILURES, &failures(snapshot), width));
        }
        // The last line is always there.
        lines.truncate(height.saturating_sub(2));
        lines.push(String::new());
        lines.push(self.footer(snapshot));
        lines.iter().map(|line| console::truncate_str(line, width, "…").into_owned()).collect()
    }

    fn footer(&self, snapshot: &Snapshot) -> String {
        if let Some(message) = &self.message {
            return output::printable(message);
        }
        let armed = self.armed.as_ref().and_then(|name| snapshot.queues.iter().find(|row| row.name == *name));
        armed.map_or_else(
            || "q end  space stop  ↑↓ choose  Enter details  p pause or resume".to_owned(),
            |row| {
                let what = if row.is_paused { "resume" } else { "pause" };
                format!("press p again to {what} {}", output::printable(&row.name))
            },
        )
    }

    fn queues(&self, snapshot: &Snapshot) -> Vec<Vec<String>> {
        let row = |(at, row): (usize, &super::snapshot::QueueRow)| {
            let figures = &row.statistics;
            let rate = row.ended_per_second.map(|rate| format!("{rate:.1}")).unwrap_or_default();
            vec![
                if at == self.selected { ">" } else { "" }.to_owned(),
                row.name.clone(),
                if row.is_paused { "paused" } else { "running" }.to_owned(),
                figures.new.to_string(),
                figures.in_progress.to_string(),
                figures.successful.to_string(),
                figures.business_exceptions.to_string(),
                figures.application_exceptions.to_string(),
                rate,
            ]
        };
        snapshot.queues.iter().enumerate().map(row).collect()
    }
}

/// Those that are busy or gone; the others would fill the screen.
fn robots(snapshot: &Snapshot) -> Vec<Vec<String>> {
    let shown = snapshot.robots.iter().filter(|robot| robot.state != RobotState::Available);
    let row = |robot: &performer_core::model::robot::Robot| {
        let item = robot.item.map(|item| item.to_string());
        vec![
            robot.job.to_string().chars().take(8).collect(),
            robot.number.to_string(),
            robot.state.to_string(),
            robot.reference.clone().or(item).unwrap_or_default(),
            robot.since.strftime("%H:%M:%S").to_string(),
        ]
    };
    shown.map(row).collect()
}

fn failures(snapshot: &Snapshot) -> Vec<Vec<String>> {
    let row = |failure: &super::snapshot::Failure| {
        vec![
            failure.id.to_string(),
            failure.queue.clone(),
            failure.reference.clone().unwrap_or_default(),
            failure.end_processing.map(|at| at.strftime("%H:%M:%S").to_string()).unwrap_or_default(),
            failure.reason.clone(),
        ]
    };
    snapshot.failures.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use performer_core::model::key::ItemId;
    use performer_core::model::statistics::QueueStatistics;

    use super::super::snapshot::{Failure, QueueRow};
    use super::*;

    fn snapshot() -> Snapshot {
        let row = |name: &str, is_paused| QueueRow {
            name: name.to_owned(),
            is_paused,
            statistics: QueueStatistics::default(),
            ended_per_second: Some(2.25),
        };
        let failure = |id| Failure {
            id: ItemId(id),
            queue: "Invoices".to_owned(),
            reference: Some("INV\u{1b}[31m".to_owned()),
            end_processing: None,
            reason: "a reason that is longer than the screen is wide, and so has to be cut".to_owned(),
        };
        Snapshot {
            queues: vec![row("Invoices", false), row("Orders", true)],
            failures: (0..30).map(failure).collect(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn no_line_is_wider_and_the_screen_is_not_higher_than_the_terminal() {
        let (snapshot, view) = (snapshot(), View::default());
        for (width, height) in [(20, 5), (80, 24), (200, 60)] {
            let lines = view.lines(&snapshot, width, height);
            assert!(lines.len() <= height, "{width}x{height}: {}", lines.len());
            assert!(lines.iter().all(|line| console::measure_text_width(line) <= width), "{lines:#?}");
            assert!(lines.last().unwrap().starts_with("q end"), "the keys are always told");
        }
        let whole = view.lines(&snapshot, 200, 60).join("\n");
        assert!(
            whole.contains("2.2") && whole.contains("paused") && !whole.contains("\u{1b}[31m"),
            "{whole}"
        );
    }

    #[test]
    fn keys_choose_a_queue_and_an_act_is_asked_for_twice() {
        let (snapshot, mut view) = (snapshot(), View::default());
        assert_eq!(view.key(&Key::Char('p'), &snapshot), None);
        assert!(view.footer(&snapshot).starts_with("press p again to pause Invoices"));
        assert_eq!(view.key(&Key::ArrowDown, &snapshot), None);
        assert_eq!(view.key(&Key::Char('p'), &snapshot), None, "another queue was chosen in between");
        let resume = Act::Pause("Orders".to_owned(), false);
        assert_eq!(view.key(&Key::Char('p'), &snapshot), Some(resume));
        view.key(&Key::ArrowDown, &snapshot);
        assert_eq!(view.selected, 1, "the last one stays chosen");
        view.key(&Key::ArrowUp, &snapshot);
        view.key(&Key::ArrowUp, &snapshot);
        assert_eq!(view.selected, 0);
        assert_eq!(view.wants_details(&snapshot), None);
        view.key(&Key::Enter, &snapshot);
        assert_eq!(view.wants_details(&snapshot).as_deref(), Some("Invoices"));
        view.key(&Key::Char(' '), &snapshot);
        assert!(view.is_frozen);
        assert_eq!(view.key(&Key::Char('q'), &snapshot), Some(Act::Quit));
        let empty = Snapshot::default();
        assert_eq!(view.key(&Key::Char('p'), &empty), None, "there is no queue");
    }
}
