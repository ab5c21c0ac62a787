//! Checks of a server, and of the caller's rights on it.

use jiff::{SignedDuration, Timestamp};
use performer::orchestrator::uipath::Caller;
use performer_core::orchestrator::{OrchestratorError, QueueAdministration as _};
use performer_server::certificate_validity;

use super::super::output::CliError;
use super::super::profile::Target;
use super::report::{CheckName, Finding, Level, Report};
use super::{now, queues, reached, skew};

/// What a performer needs, and a person who looks at queues.
const NEEDED: [&str; 4] = ["Queues.View", "Transactions.View", "Transactions.Create", "Transactions.Edit"];

pub(super) async fn check(target: &Target, report: &mut Report) -> Result<(), CliError> {
    let server = match target.connect_server().await {
        Ok(server) => server,
        Err(error) if error.is_usage() => return Err(error),
        Err(error) => {
            report.stop(not_connected(&error));
            return Ok(());
        }
    };
    let began = now();
    let probe = match server.probe().await {
        Ok(probe) => probe,
        Err(error) => {
            let finding = Finding::bad(CheckName::Reach, format!("{}", error.with_causes()));
            report.stop(finding.help("performer help environment"));
            return Ok(());
        }
    };
    report.latency = Some(probe.took);
    report.add(reached("the server", probe.took));
    report.add(tls(target.url(), probe.certificate.as_deref(), now()));
    let mut ahead = SignedDuration::ZERO;
    if let Some(time) = probe.server_time {
        // Whole seconds, read somewhere within the call.
        let tolerance =
            SignedDuration::try_from(probe.took).unwrap_or_default() + SignedDuration::from_secs(1);
        ahead = time.duration_since(began) - tolerance / 2;
        report.add(skew("the server", ahead, tolerance));
    }
    if let Err(error) = server.list_queues().await
        && error.is_unauthorized()
    {
        report.stop(refused(&error));
        return Ok(());
    }
    report.add(match server.caller().await {
        Ok(caller) => access(&caller),
        Err(error) if error.is_unauthorized() => {
            let text = "the credentials are accepted, and queues may be looked at; who the caller is, and what else it may \
                        do, is told with the scope OR.Users.Read";
            Finding::good(CheckName::Access, text)
        }
        Err(error) => Finding::bad(CheckName::Access, format!("{}", error.with_causes())),
    });
    report.add(empty_answer(server.has_leases()));
    queues::check(&server, ahead, report).await;
    Ok(())
}

fn not_connected(error: &CliError) -> Finding {
    let check = if error.is_not_allowed() { CheckName::Access } else { CheckName::Reach };
    Finding::bad(check, error.to_string()).help("performer help environment")
}

fn refused(error: &OrchestratorError) -> Finding {
    let text = format!("the server does not accept the credentials: {error}");
    Finding::bad(CheckName::Access, text).help("performer help environment")
}

/// How long before its end a certificate should be renewed.
const RENEW: SignedDuration = SignedDuration::from_hours(14 * 24);
const LATE: SignedDuration = SignedDuration::from_hours(3 * 24);

fn tls(url: &str, certificate: Option<&[u8]>, now: Timestamp) -> Finding {
    let Some(certificate) = certificate else {
        let is_local =
            ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|here| url.starts_with(here));
        return if is_local {
            Finding::good(
                CheckName::Tls,
                "the server is on this machine, and the connection is not encrypted",
            )
        } else {
            let text = "the connection is not encrypted: credentials and content can be read on the way";
            Finding::bad(CheckName::Tls, text).help("performer serve --tls-cert FILE --tls-key FILE")
        };
    };
    let Some((_, until)) = certificate_validity(certificate) else {
        return Finding::warning(CheckName::Tls, "it is not known until when the certificate is valid");
    };
    let left = until.duration_since(now);
    let days = left.as_hours() / 24;
    let level = if left < LATE {
        Level::Bad
    } else if left < RENEW {
        Level::Warning
    } else {
        Level::Good
    };
    let finding = Finding::new(
        CheckName::Tls,
        level,
        format!("the certificate is valid until {until}, for {days} days"),
    );
    if level == Level::Good {
        return finding;
    }
    finding.help("renew the certificate; performer serve reads its files again by itself")
}

fn access(caller: &Caller) -> Finding {
    let Caller { id, user_name, permissions, .. } = caller;
    let missing: Vec<&str> =
        NEEDED.into_iter().filter(|needed| !permissions.iter().any(|may| may == needed)).collect();
    if missing.is_empty() {
        let text = format!("{user_name} (user {id}) may look at queues and process items");
        return Finding::good(CheckName::Access, text);
    }
    let text = format!("{user_name} (user {id}) may not: {}", missing.join(", "));
    Finding::warning(CheckName::Access, text).help("performer access whoami")
}

/// An Orchestrator answers a claim with 204 if the queue is empty, and also if the caller is no robot or lacks a right.
fn empty_answer(has_leases: bool) -> Finding {
    if has_leases {
        return Finding::good(
            CheckName::EmptyAnswer,
            "the server tells an empty queue from a right that is missing",
        );
    }
    let text = "an Orchestrator answers a claim with 204 both if the queue is empty and if the caller is no robot or lacks a \
                right: a performer that gets nothing while items wait needs the key of its robot or its job";
    Finding::warning(CheckName::EmptyAnswer, text)
        .help("set UIPATH_ROBOT_KEY, or run the performer in a job; the permissions are Queues.View and Transactions.Edit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_judged_by_the_days_that_are_left() {
        let certificate = |days: i64| {
            let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            let key = rcgen::KeyPair::generate().unwrap();
            // 2026-01-01 is the beginning of the test.
            let until = if days < 31 { (2026, 1, 1 + u8::try_from(days).unwrap()) } else { (2027, 1, 1) };
            parameters.not_before = rcgen::date_time_ymd(2025, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
            parameters.self_signed(&key).unwrap().der().to_vec()
        };
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let level = |days| tls("https://example.com", Some(&certificate(days)), now).level;
        assert_eq!(
            [level(1), level(10), level(20), level(365)],
            [Level::Bad, Level::Warning, Level::Good, Level::Good]
        );
        assert_eq!(tls("https://example.com", Some(b"no certificate"), now).level, Level::Warning);
        assert_eq!(tls("http://127.0.0.1:8095", None, now).level, Level::Good);
        assert_eq!(tls("http://queues.example.com", None, now).level, Level::Bad);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(empty_answer(true).level, Level::Good);
        assert_eq!(empty_answer(false).level, Level::Warning);
    }
}
