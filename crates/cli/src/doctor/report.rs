//! What the checks found, as text, JSON, for Nagios and for Prometheus.

use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::super::output::{self, CliError};

/// The checks, in the order in which they are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in super::super) enum CheckName {
    /// Whether the store or the server answers, and how fast
    Reach,
    /// Whether the schema of the store is the one of this program
    Schema,
    /// Whether the clock of the store or the server agrees with the one of this machine
    Clock,
    /// Whether the connection is encrypted, and how long the certificate is valid
    Tls,
    /// Whether what was committed survives a power failure
    Durability,
    /// Whether the disk of a file has room, and its write-ahead log is short
    Disk,
    /// Whether a transaction has been open for long in the database
    Transactions,
    /// Whether a pooler is between the program and the database
    Pooler,
    /// Who the caller is, and what it may do
    Access,
    /// Whether an empty answer to a claim may mean a missing permission
    EmptyAnswer,
    /// What holds claims on the queues back
    Queues,
    /// Whether jobs beat, and have time left in their leases
    Jobs,
    /// Whether items are removed that are past their retention
    Retention,
    /// Whether figures by minute are written
    Figures,
}

impl CheckName {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in super::super) enum Format {
    /// A line per finding
    Text,
    /// An object with the findings
    Json,
    /// A line of status, and a line per finding, with the exit codes of Nagios
    Nagios,
    /// Metrics in the text format of Prometheus
    Prometheus,
}

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Level {
    Good,
    Warning,
    Bad,
}

impl Level {
    fn mark(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Warning => "!",
            Self::Bad => "✗",
        }
    }

    /// As Nagios numbers it.
    fn number(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Warning => 1,
            Self::Bad => 2,
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Finding {
    pub(super) check: CheckName,
    pub(super) level: Level,
    pub(super) message: String,
    /// The command that helps.
    pub(super) help: Option<String>,
}

impl Finding {
    pub(super) fn new(check: CheckName, level: Level, message: impl Into<String>) -> Self {
        Self { check, level, message: message.into(), help: None }
    }

    pub(super) fn good(check: CheckName, message: impl Into<String>) -> Self {
        Self::new(check, Level::Good, message)
    }

    pub(super) fn warning(check: CheckName, message: impl Into<String>) -> Self {
        Self::new(check, Level::Warning, message)
    }

    pub(super) fn bad(check: CheckName, message: impl Into<String>) -> Self {
        Self::new(check, Level::Bad, message)
    }

    pub(super) fn help(self, command: impl Into<String>) -> Self {
        Self { help: Some(command.into()), ..self }
    }
}

/// What was found, of the checks that are wanted.
#[derive(Debug)]
pub(super) struct Report {
    wanted: Vec<CheckName>,
    findings: Vec<Finding>,
    /// How long the store or the server took to answer.
    pub(super) latency: Option<Duration>,
}

impl Report {
    /// A report of these checks; of all if there are none.
    pub(super) fn new(wanted: Vec<CheckName>) -> Self {
        Self { wanted, findings: Vec::new(), latency: None }
    }

    pub(super) fn wants(&self, check: CheckName) -> bool {
        self.wanted.is_empty() || self.wanted.contains(&check)
    }

    /// Adds a finding of a check that is wanted.
    pub(super) fn add(&mut self, finding: Finding) {
        if self.wants(finding.check) {
            self.findings.push(finding);
        }
    }

    /// Adds the finding because of which other checks cannot be made: it is told whatever is wanted, and is bad if one of those
    /// was named.
    pub(super) fn stop(&mut self, finding: Finding) {
        let is_other_named = self.wanted.iter().any(|wanted| *wanted != finding.check);
        let level = if is_other_named { Level::Bad } else { finding.level };
        self.findings.push(Finding { level, ..finding });
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    fn worst(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Good)
    }

    pub(super) fn exit_code(&self, format: Format, is_strict: bool) -> ExitCode {
        let worst = self.worst();
        if format == Format::Nagios {
            let strict = if is_strict && worst == Level::Warning { Level::Bad } else { worst };
            return ExitCode::from(strict.number());
        }
        ExitCode::from(u8::from(worst == Level::Bad || is_strict && worst == Level::Warning))
    }

    pub(super) fn print(&self, format: Format) -> Result<(), CliError> {
        let mut findings: Vec<&Finding> = self.findings.iter().collect();
        findings.sort_by_key(|finding| finding.check);
        match format {
            Format::Text => self.text(&findings),
            Format::Json => output::json(&serde_json::json!({
                "Level": self.worst(), "Good": self.count(Level::Good), "Warnings": self.count(Level::Warning),
                "Bad": self.count(Level::Bad), "LatencyInSeconds": self.latency.map(|took| took.as_secs_f64()),
                "Findings": findings,
            })),
            Format::Nagios => self.nagios(&findings),
            Format::Prometheus => self.prometheus(),
        }
    }

    fn text(&self, findings: &[&Finding]) -> Result<(), CliError> {
        let width = findings.iter().map(|finding| finding.check.name().len()).max().unwrap_or(0);
        for Finding { check, level, message, help } in findings {
            let message = output::printable(message);
            output::line(format!("{} {:width$}  {message}", level.mark(), check.name()))?;
            if let Some(help) = help {
                output::line(format!("  {:width$}  → {}", "", output::printable(help)))?;
            }
        }
        let (warnings, bad) = (self.count(Level::Warning), self.count(Level::Bad));
        output::remark(format!("{} checks: {warnings} warnings, {bad} bad", findings.len()));
        Ok(())
    }

    fn nagios(&self, findings: &[&Finding]) -> Result<(), CliError> {
        let status = match self.worst() {
            Level::Good => "OK",
            Level::Warning => "WARNING",
            Level::Bad => "CRITICAL",
        };
        let worst =
            findings.iter().filter(|finding| finding.level == self.worst() && finding.level != Level::Good);
        let reasons: Vec<String> = worst.map(|finding| output::printable(&finding.message)).collect();
        let reasons = if reasons.is_empty() {
            format!("{} checks are good", findings.len())
        } else {
            reasons.join("; ")
        };
        // A bar would begin the figures.
        let reasons = reasons.replace('|', "/");
        let latency = self.latency.map(|took| format!(" | latency={:.6}s", took.as_secs_f64()));
        output::line(format!("PERFORMER {status} - {reasons}{}", latency.unwrap_or_default()))?;
        for Finding { check, level, message, .. } in findings {
            let message = output::printable(message).replace('|', "/");
            output::line(format!("{} {}: {message}", level.mark(), check.name()))?;
        }
        Ok(())
    }

    fn prometheus(&self) -> Result<(), CliError> {
        output::line("# HELP performer_doctor_check Whether a check is good (0), a warning (1) or bad (2).")?;
        output::line("# TYPE performer_doctor_check gauge")?;
        for check in CheckName::value_variants() {
            let of_check = self.findings.iter().filter(|finding| finding.check == *check);
            if let Some(worst) = of_check.map(|finding| finding.level).max() {
                let (name, number) = (check.name(), worst.number());
                output::line(format!("performer_doctor_check{{check=\"{name}\"}} {number}"))?;
            }
        }
        if let Some(latency) = self.latency {
            output::line(
                "# HELP performer_doctor_latency_seconds How long the store or the server took to answer.",
            )?;
            output::line("# TYPE performer_doctor_latency_seconds gauge")?;
            output::line(format!("performer_doctor_latency_seconds {:.6}", latency.as_secs_f64()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(report: &Report, format: Format, is_strict: bool) -> String {
        format!("{:?}", report.exit_code(format, is_strict))
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst_finding() {
        let exit = |number: u8| format!("{:?}", ExitCode::from(number));
        for (level, plain, strict, nagios) in
            [(Level::Good, 0, 0, 0), (Level::Warning, 0, 1, 1), (Level::Bad, 1, 1, 2)]
        {
            let mut report = Report::new(Vec::new());
            report.add(Finding::good(CheckName::Reach, "it answered"));
            report.add(Finding::new(CheckName::Jobs, level, "…"));
            assert_eq!(code(&report, Format::Text, false), exit(plain), "{level:?}");
            assert_eq!(code(&report, Format::Json, true), exit(strict), "{level:?}");
            assert_eq!(code(&report, Format::Nagios, false), exit(nagios), "{level:?}");
        }
    }

    #[test]
    fn only_what_is_wanted_is_told_and_what_cannot_be_reached() {
        let mut report = Report::new(vec![CheckName::Jobs]);
        report.add(Finding::good(CheckName::Reach, "it answered"));
        report.add(Finding::bad(CheckName::Disk, "it is full"));
        assert_eq!(report.findings, []);
        report.stop(Finding::warning(CheckName::Reach, "it did not answer"));
        assert_eq!(report.findings, [Finding::bad(CheckName::Reach, "it did not answer")]);
    }
}
