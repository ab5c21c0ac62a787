//! A proxy to a database that can cut connections after any number of bytes, in either direction, and counts round trips.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a server is silent before its answers are passed on, where round trips are counted: what a client sends without waiting
/// for an answer belongs to the same round trip, however slowly it is sent.
const SILENCE: Duration = Duration::from_millis(20);

/// The direction in which bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

#[derive(Default)]
struct State {
    /// The direction, and the number of bytes after which to cut.
    cut: Option<(Direction, usize)>,
    was_cut: bool,
    /// Whether the server does not notice that its client is gone.
    silently: bool,
    /// How often a client has sent something after it had received something.
    round_trips: usize,
}

/// Forwards connections until one is to be cut.
pub struct Proxy {
    url: String,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// Starts a proxy for the database of this URL.
    pub fn start(url: &str) -> Self {
        Self::start_with(url, None)
    }

    /// Starts a proxy that counts round trips; each takes 20 ms and more.
    pub fn counting_round_trips(url: &str) -> Self {
        Self::start_with(url, Some(SILENCE))
    }

    fn start_with(url: &str, silence: Option<Duration>) -> Self {
        let (before, rest) = url.split_once('@').expect("a URL with a user");
        let (server, behind) = rest.split_once('/').expect("a URL with a database");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, server) = (state.clone(), server.to_owned());
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let server = TcpStream::connect(&server).unwrap();
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                server.set_read_timeout(silence).unwrap();
                let is_asked = Arc::new(AtomicBool::new(false));
                for (from, to, direction) in
                    [(&client, &server, Direction::ToServer), (&server, &client, Direction::ToClient)]
                {
                    let (from, to, shared) =
                        (from.try_clone().unwrap(), to.try_clone().unwrap(), shared.clone());
                    let is_asked = is_asked.clone();
                    std::thread::spawn(move || pass_on(from, to, direction, &shared, &is_asked));
                }
            }
        });
        Self { url: format!("{before}@{address}/{behind}"), state }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Cuts the connection once, in both directions, after this many bytes in one.
    pub fn cut_after(&self, direction: Direction, bytes: usize) {
        *self.state.lock().unwrap() = State { cut: Some((direction, bytes)), ..State::default() };
    }

    /// Cuts the connection in such a way that the server does not notice it, as if a cable was pulled.
    pub fn cut_silently_after(&self, direction: Direction, bytes: usize) {
        *self.state.lock().unwrap() =
            State { cut: Some((direction, bytes)), silently: true, ..State::default() };
    }

    /// How often a client has sent something and waited, since this was asked before, if the proxy counts round trips.
    pub fn round_trips(&self) -> usize {
        std::mem::take(&mut self.state.lock().unwrap().round_trips)
    }

    /// Stops cutting. Returns whether a connection was cut.
    pub fn restore(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.cut = None;
        state.was_cut
    }
}

/// Reads what has come; of a stream that times out, all that comes before it has been silent for that time. False at the end.
fn read(from: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    buffer.clear();
    let collects = from.read_timeout().unwrap().is_some();
    let mut part = [0; 16 * 1024];
    loop {
        match from.read(&mut part) {
            Ok(count @ 1..) => {
                buffer.extend_from_slice(&part[..count]);
                if !collects {
                    return true;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if !buffer.is_empty() {
                    return true;
                }
            }
            Ok(_) | Err(_) => return !buffer.is_empty(),
        }
    }
}

fn pass_on(
    mut from: TcpStream,
    mut to: TcpStream,
    direction: Direction,
    state: &Mutex<State>,
    is_asked: &AtomicBool,
) {
    let mut buffer = Vec::new();
    while read(&mut from, &mut buffer) {
        let count = buffer.len();
        let (mut passed, mut ends) = (count, false);
        {
            let mut state = state.lock().unwrap();
            let asks = direction == Direction::ToServer;
            state.round_trips += usize::from(!is_asked.swap(asks, Ordering::Relaxed) && asks);
            if let Some((cut, left)) = &mut state.cut
                && *cut == direction
            {
                if *left < count {
                    (passed, ends) = (*left, true);
                    (state.cut, state.was_cut) = (None, true);
                } else {
                    *left -= count;
                }
            }
        }
        if to.write_all(&buffer[..passed]).is_err() || ends {
            break;
        }
    }
    // A client that is cut off hears nothing more; a server is told that its client is gone.
    if state.lock().unwrap().silently {
        let (client, server) = if direction == Direction::ToServer { (from, to) } else { (to, from) };
        let _ = client.shutdown(Shutdown::Both);
        std::mem::forget(server); // open until the test ends
        return;
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
