//! The screen of a terminal, and its keys.

use std::io::{self, Write as _};

use console::{Key, Term};
use tokio::sync::mpsc;

use super::super::output::CliError;

/// The alternate screen without a cursor, until this is dropped: what was on the terminal before is there again then.
pub(super) struct Screen {
    terminal: Term,
    keys: mpsc::Receiver<io::Result<Key>>,
    /// Allows the thread to read the next key. While it reads, the terminal hands out keys without waiting for the end of a line.
    next: mpsc::Sender<()>,
    /// How the terminal was set before, for an end in the middle of a read.
    #[cfg(unix)]
    settings: Option<rustix::termios::Termios>,
}

impl Screen {
    pub(super) fn open() -> Result<Self, CliError> {
        let terminal = Term::stdout();
        #[cfg(unix)]
        let settings = rustix::termios::tcgetattr(io::stdin()).ok();
        let (sender, keys) = mpsc::channel(1);
        let (next, mut allowed) = mpsc::channel::<()>(1);
        let reader = Term::stdout();
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || {
            while allowed.blocking_recv().is_some() {
                if sender.blocking_send(reader.read_key_raw()).is_err() {
                    return;
                }
            }
        })?;
        let screen = Self {
            terminal,
            keys,
            next,
            #[cfg(unix)]
            settings,
        };
        screen.allow();
        screen.write("\u{1b}[?1049h\u{1b}[?25l")?;
        Ok(screen)
    }

    fn allow(&self) {
        let _ = self.next.try_send(()); // it is allowed already
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut terminal = &self.terminal;
        terminal.write_all(text.as_bytes())?;
        terminal.flush()
    }

    /// The rows and columns.
    pub(super) fn size(&self) -> (usize, usize) {
        let (rows, columns) = self.terminal.size_checked().unwrap_or((24, 80));
        (usize::from(rows), usize::from(columns))
    }

    /// The next key. If the future is dropped, no key is lost.
    pub(super) async fn key(&mut self) -> Result<Key, CliError> {
        let key = self.keys.recv().await;
        self.allow();
        key.unwrap_or(Ok(Key::CtrlC)).map_err(Into::into)
    }

    /// Draws the lines over what is there, without erasing it first: so nothing flickers.
    pub(super) fn show(&self, lines: &[String]) -> Result<(), CliError> {
        let text: String = lines.iter().map(|line| format!("{line}\u{1b}[K\r\n")).collect();
        Ok(self.write(&format!("\u{1b}[H{}\u{1b}[J", text.trim_end_matches("\r\n")))?)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.write("\u{1b}[?25h\u{1b}[?1049l"); // the terminal may be closed
        #[cfg(unix)]
        if let Some(settings) = &self.settings {
            let _ = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Now, settings);
        }
    }
}
