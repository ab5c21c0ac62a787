//! Robot logs (orchestrator-api 16), as they are read.

use super::Inner;
use super::administration::unsupported;
use super::call::Call;
use performer_core::model::key::FolderId;
use performer_core::model::log::{LogFilter, LogRecord};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};
use performer_wire::Collection;
use performer_wire::filter::quoted;
use performer_wire::log::LogLineDto;

/// The most lines of one page (orchestrator-api 4.1).
const PAGE: usize = 1_000;

/// One of several alternatives.
fn any(alternatives: impl Iterator<Item = String>) -> String {
    format!("({})", alternatives.collect::<Vec<_>>().join(" or "))
}

/// The filter, as the API writes it. `None`: nothing can match.
fn written(filter: &LogFilter) -> Result<Option<String>> {
    if filter.folders.is_some() || filter.item.is_some() {
        return unsupported("over HTTP log lines are not listed by folder or item");
    }
    let mut all = Vec::new();
    if let Some(from) = filter.from {
        all.push(format!("TimeStamp ge {from}"));
    }
    if let Some(before) = filter.before {
        all.push(format!("TimeStamp lt {before}"));
    }
    if !filter.levels.is_empty() {
        all.push(any(filter.levels.iter().map(|level| format!("Level eq '{level}'"))));
    }
    match filter.jobs.as_deref() {
        None => {}
        Some([]) => return Ok(None),
        Some(jobs) => all.push(any(jobs.iter().map(|job| format!("JobKey eq {job}")))),
    }
    if let Some(process) = &filter.process {
        all.push(format!("ProcessName eq {}", quoted(process)));
    }
    if let Some((time, id)) = filter.after {
        let (at_or_behind, behind) = if filter.descending { ("le", "lt") } else { ("ge", "gt") };
        all.push(format!("TimeStamp {at_or_behind} {time}"));
        all.push(format!("(TimeStamp {behind} {time} or Id {behind} {id})"));
    }
    Ok(Some(all.join(" and ")))
}

impl Inner {
    pub(super) async fn log_lines(&self, filter: &LogFilter) -> Result<Vec<LogRecord>> {
        filter.validate()?;
        let Some(condition) = written(filter)? else { return Ok(Vec::new()) };
        let direction = if filter.descending { "desc" } else { "asc" };
        let mut lines = Vec::new();
        while lines.len() < filter.limit {
            let top = (filter.limit - lines.len()).min(PAGE);
            let call = Call::get("GetRobotLogs", "/odata/RobotLogs");
            let call = call.query("$orderby", format!("TimeStamp {direction},Id {direction}"));
            let call = call.query("$top", top.to_string()).query("$skip", lines.len().to_string());
            let call = if condition.is_empty() { call } else { call.query("$filter", &condition) };
            let page: Collection<LogLineDto> = self.http.json(call).await?;
            let is_last = page.value.len() < top;
            for line in page.value {
                lines.push(
                    line.into_record(FolderId::SHARED)
                        .map_err(|error| OrchestratorError::new(ErrorKind::Other, error.to_string()))?,
                );
            }
            if is_last {
                break;
            }
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use performer_core::model::log::LogLevel;

    #[test]
    fn a_filter_is_written_as_the_api_reads_it() {
        let mut filter = LogFilter::default();
        assert_eq!(written(&filter).unwrap().as_deref(), Some(""));
        let at: jiff::Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        (filter.from, filter.levels) = (Some(at), vec![LogLevel::Warn, LogLevel::Error]);
        (filter.process, filter.after) = (Some("O'Neil".to_owned()), Some((at, 7)));
        assert_eq!(
            written(&filter).unwrap().unwrap(),
            "TimeStamp ge 2026-11-01T00:00:00Z and (Level eq 'Warn' or Level eq 'Error') and ProcessName eq 'O''Neil' \
             and TimeStamp ge 2026-11-01T00:00:00Z and (TimeStamp gt 2026-11-01T00:00:00Z or Id gt 7)"
        );
        filter.jobs = Some(Vec::new());
        assert_eq!(written(&filter).unwrap(), None);
        filter.item = Some(performer_core::model::key::ItemId(1));
        assert_eq!(written(&filter).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
