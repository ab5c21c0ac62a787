//! Colours: whether they are used, and those of statuses.

use clap::ValueEnum;
use console::Style;

/// Whether output has colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColourChoice {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb; with CLICOLOR_FORCE=1 elsewhere too
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl ColourChoice {
    /// Whether a stream has colours. `variable`: the value of a variable of the environment.
    pub(super) fn is_coloured(self, is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
        let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto if is_set("NO_COLOR") => false,
            Self::Auto
                if variable("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0") =>
            {
                true
            }
            Self::Auto => is_terminal && variable("TERM").as_deref() != Some("dumb"),
        }
    }
}

/// The colour of a status of items, a review status or a state of jobs and robots, which may be followed by a remark.
pub(super) fn of_status(status: &str) -> Option<Style> {
    let word = status.split([' ', ',']).next().unwrap_or_default();
    let style = Style::new();
    Some(match word {
        "Successful" | "Verified" | "running" => style.green(),
        "Failed" | "Faulted" | "Abandoned" | "Disconnected" => style.red(),
        "InProgress" | "Running" | "Busy" | "InReview" => style.cyan(),
        "Retried" | "Stopping" | "Terminating" | "Stopped" | "paused" => style.yellow(),
        "Deleted" => style.dim(),
        _ => return None,
    })
}

pub(super) fn paint(style: Style, text: &str) -> String {
    style.force_styling(true).apply_to(text).to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A text without the sequences that set colours.
    pub(in super::super) fn without_colours(text: &str) -> String {
        let mut parts = text.split('\u{1b}');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |shown, part| shown + part.split_once('m').map_or("", |(_, rest)| rest))
    }

    #[test]
    fn the_option_decides_then_the_environment_then_the_terminal() {
        let auto = ColourChoice::Auto;
        for (choice, is_terminal, variables, expected) in [
            (auto, true, &[][..], true),
            (auto, false, &[], false),
            (auto, true, &[("NO_COLOR", "1")], false),
            (auto, true, &[("NO_COLOR", "")], true),
            (auto, true, &[("TERM", "dumb")], false),
            (auto, true, &[("TERM", "xterm")], true),
            (auto, false, &[("CLICOLOR_FORCE", "1")], true),
            (auto, false, &[("CLICOLOR_FORCE", "0")], false),
            (auto, false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
            (ColourChoice::Always, false, &[("NO_COLOR", "1")], true),
            (ColourChoice::Never, true, &[("CLICOLOR_FORCE", "1")], false),
        ] {
            let get = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(
                choice.is_coloured(is_terminal, get),
                expected,
                "{choice:?} {is_terminal} {variables:?}"
            );
        }
    }

    #[test]
    fn every_final_status_has_a_colour() {
        for status in performer_core::model::status::Status::ALL {
            let is_new = *status == performer_core::model::status::Status::New;
            assert_eq!(of_status(&status.to_string()).is_none(), is_new, "{status}");
        }
        assert!(of_status("Running, no heartbeat since 2026-11-01").is_some() && of_status("").is_none());
    }
}
