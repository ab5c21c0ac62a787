//! Injected faults, for tests of robots and integrations.
//!
//! A fault is written as `operation=fault@share`, as in `StartTransaction=503@10%`, `*=500ms@50%`,
//! `SetTransactionResult=lost@1/20`, `StartTransaction=abandon@5%`.

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;

/// One fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The name of an operation, in lower case; `*` for all.
    operation: String,
    what: FaultKind,
    share: f64,
}

/// What the fault does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum FaultKind {
    /// Responds with this status without executing the call.
    Status(u16),
    /// Delays the call.
    Delay(Duration),
    /// Executes the call and closes the connection without a response.
    DropResponse,
    /// Executes the call and responds with this status.
    ReplaceStatus(u16),
    /// Abandons the item that was just handed out.
    Abandon,
}

impl FromStr for Fault {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let wrong = |why: &str| {
            let message = format!(
                "{text:?} is not a fault: {why}; use operation=fault@share, where fault is a status (503), a delay (200ms, 2s), \
                 lost, done:502 or abandon, and share is 10% or 1/20"
            );
            Refusal::new(ErrorCode::INVALID_ARGUMENT, message)
        };
        let (operation, rest) = text.split_once('=').ok_or_else(|| wrong("the = is missing"))?;
        let (what, share) = rest.split_once('@').unwrap_or((rest, "100%"));
        let operation = operation.trim();
        let known = operation == "*"
            || super::routes::ROUTES.iter().any(|route| route.name.eq_ignore_ascii_case(operation));
        if !known {
            return Err(wrong("unknown operation"));
        }
        let status = |text: &str| text.parse::<u16>().ok().filter(|status| (400..=599).contains(status));
        let what = match what.trim() {
            "lost" => FaultKind::DropResponse,
            "abandon" if operation.eq_ignore_ascii_case("StartTransaction") => FaultKind::Abandon,
            what => {
                if let Some(status) = what.strip_prefix("done:").and_then(status) {
                    FaultKind::ReplaceStatus(status)
                } else if let Some(status) = status(what) {
                    FaultKind::Status(status)
                } else {
                    FaultKind::Delay(parse_delay(what).ok_or_else(|| wrong("unknown fault"))?)
                }
            }
        };
        let share = parse_share(share.trim()).ok_or_else(|| wrong("invalid share"))?;
        Ok(Self { operation: operation.to_ascii_lowercase(), what, share })
    }
}

fn parse_delay(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s')?, 1_000),
    };
    let milliseconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (milliseconds <= 600_000).then(|| Duration::from_millis(milliseconds))
}

fn parse_share(text: &str) -> Option<f64> {
    let share = match (text.strip_suffix('%'), text.split_once('/')) {
        (Some(percent), _) => percent.trim().parse::<f64>().ok()? / 100.0,
        (None, Some((part, of))) => part.trim().parse::<f64>().ok()? / of.trim().parse::<f64>().ok()?,
        (None, None) => return None,
    };
    (share > 0.0 && share <= 1.0).then_some(share)
}

/// The faults of a server.
#[derive(Debug, Default)]
pub(super) struct FaultInjector {
    faults: Vec<Fault>,
    /// Counts calls and seeds the random numbers, so that the same sequence of calls meets the same faults.
    calls: AtomicU64,
}

/// The faults of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CallFaults {
    pub(super) delay: Duration,
    /// Respond with this status without executing the call.
    pub(super) status: Option<u16>,
    /// Respond with this status after executing the call.
    pub(super) replaced_status: Option<u16>,
    pub(super) drop_response: bool,
}

impl FaultInjector {
    pub(super) fn new(faults: Vec<Fault>) -> Self {
        Self { faults, calls: AtomicU64::new(0) }
    }

    fn random(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(
            self.calls.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        )
    }

    fn matching<'a>(&'a self, operation: &'a str) -> impl Iterator<Item = &'a Fault> {
        let mut random = self.random();
        self.faults.iter().filter(move |fault| {
            let here = fault.operation == "*" || fault.operation.eq_ignore_ascii_case(operation);
            here && random.f64() < fault.share
        })
    }

    /// Draws the faults of a call of this operation.
    pub(super) fn for_call(&self, operation: &str) -> CallFaults {
        let mut faults = CallFaults::default();
        if self.faults.is_empty() {
            return faults;
        }
        for fault in self.matching(operation) {
            match fault.what {
                FaultKind::Status(status) => faults.status = Some(status),
                FaultKind::Delay(delay) => faults.delay += delay,
                FaultKind::DropResponse => faults.drop_response = true,
                FaultKind::ReplaceStatus(status) => faults.replaced_status = Some(status),
                FaultKind::Abandon => {}
            }
        }
        faults
    }

    /// Draws whether an item that was just handed out is abandoned.
    pub(super) fn abandons_item(&self) -> bool {
        let can = self.faults.iter().any(|fault| fault.what == FaultKind::Abandon);
        can && self.matching("StartTransaction").any(|fault| fault.what == FaultKind::Abandon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_parsed() {
        let read = |text: &str| text.parse::<Fault>().map(|fault| (fault.what, fault.share));
        assert_eq!(read("StartTransaction=503@10%"), Ok((FaultKind::Status(503), 0.1)));
        assert_eq!(read("*=500ms@1/2"), Ok((FaultKind::Delay(Duration::from_millis(500)), 0.5)));
        assert_eq!(read("addqueueitem=2s"), Ok((FaultKind::Delay(Duration::from_secs(2)), 1.0)));
        assert_eq!(read("SetTransactionResult=lost@5%"), Ok((FaultKind::DropResponse, 0.05)));
        assert_eq!(read("SetTransactionResult=done:502@5%"), Ok((FaultKind::ReplaceStatus(502), 0.05)));
        assert_eq!(read("StartTransaction=abandon@100%"), Ok((FaultKind::Abandon, 1.0)));
        for wrong in [
            "",
            "503",
            "Nothing=503@10%",
            "*=200@10%",
            "*=503@0%",
            "*=503@101%",
            "*=503@1/0",
            "*=503@x",
            "*=soon@10%",
            "AddQueueItem=abandon",
            "*=done:@1%",
            "*=99999999999s",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn faults_hit_their_share_of_calls() {
        let injector = FaultInjector::new(vec![
            "StartTransaction=503@25%".parse().unwrap(),
            "*=10ms@100%".parse().unwrap(),
        ]);
        let all: Vec<CallFaults> = (0..4_000).map(|_| injector.for_call("StartTransaction")).collect();
        let hit = all.iter().filter(|faults| faults.status == Some(503)).count();
        assert!((800..1_200).contains(&hit), "{hit}");
        assert!(all.iter().all(|faults| faults.delay == Duration::from_millis(10)));
        assert_eq!(injector.for_call("AddQueueItem").status, None);
        assert!(!injector.abandons_item());
    }
}
