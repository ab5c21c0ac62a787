//! A way to a database that can be cut after any number of bytes, in either direction.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    ToServer,
    ToClient,
}

#[derive(Default)]
struct State {
    /// Where to cut, and after how many bytes more.
    cut: Option<(Cut, usize)>,
    was_cut: bool,
    /// A server is not told that its client is gone.
    silently: bool,
}

/// Passes bytes on, until it is told to stop.
pub struct Proxy {
    url: String,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// A proxy before the database of this URL.
    pub fn start(url: &str) -> Self {
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
                for (from, to, direction) in
                    [(&client, &server, Cut::ToServer), (&server, &client, Cut::ToClient)]
                {
                    let (from, to, shared) =
                        (from.try_clone().unwrap(), to.try_clone().unwrap(), shared.clone());
                    std::thread::spawn(move || pass_on(from, to, direction, &shared));
                }
            }
        });
        Self { url: format!("{before}@{address}/{behind}"), state }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// After so many bytes in this direction both are cut off, once.
    pub fn cut_after(&self, direction: Cut, bytes: usize) {
        *self.state.lock().unwrap() =
            State { cut: Some((direction, bytes)), was_cut: false, silently: false };
    }

    /// The same, and the server notices nothing: as when a cable is pulled.
    pub fn cut_silently_after(&self, direction: Cut, bytes: usize) {
        *self.state.lock().unwrap() = State { cut: Some((direction, bytes)), was_cut: false, silently: true };
    }

    /// Nothing is cut any more. Answers whether something was.
    pub fn mend(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.cut = None;
        state.was_cut
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, direction: Cut, state: &Mutex<State>) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        let (mut passed, mut ends) = (count, false);
        {
            let mut state = state.lock().unwrap();
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
        let (client, server) = if direction == Cut::ToServer { (from, to) } else { (to, from) };
        let _ = client.shutdown(Shutdown::Both);
        std::mem::forget(server); // open until the test ends
        return;
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
