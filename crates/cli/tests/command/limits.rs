//! The limits of `performer serve`, and the memory of the real process under them.

use super::{command, run, text};

#[test]
fn invalid_limits_are_refused_before_anything_is_created() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, code, expected) in [
        (["--cors-origin", "https://example.com/"], 2, "SCHEME://HOST"),
        (["--cors-origin", "null"], 2, "SCHEME://HOST"),
        (["--max-memory", "8"], 1, "bytes of memory for bodies and responses are too few"),
    ] {
        let mut words = vec!["serve", "--listen", "127.0.0.1:0"];
        words.extend(arguments);
        let refused = run(folder.path(), &words);
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}: {}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains(expected), "{}", text(&refused.stderr));
    }
    let help = text(&command(folder.path(), &["serve", "--help"]).output().unwrap().stdout);
    for flag in ["--cors-origin", "--max-memory", "--max-connections"] {
        assert!(help.contains(flag), "{help}");
    }
}

/// Measured from outside: what hostile clients make the process hold.
#[cfg(target_os = "linux")]
mod measured {
    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::super::{CLIENT, SECRET, Server};

    const MIB: usize = 1024 * 1024;

    /// The resident memory of a process, in bytes.
    fn resident(server: &Server) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
    }

    fn connect(server: &Server) -> TcpStream {
        TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap()
    }

    /// One request and its answer, on a connection of its own.
    fn ask(server: &Server, head: &str, body: &str) -> String {
        let mut stream = connect(server);
        let length = body.len();
        let request = format!("{head}Host: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn hostile_clients_do_not_make_the_process_large() {
        let folder = tempfile::tempdir().unwrap();
        let limits = ["--listen", "127.0.0.1:0", "--max-memory", "64", "--max-body", "16"];
        let server = Server::known(folder.path(), &limits);
        let form = format!(
            "grant_type=client_credentials&client_id={CLIENT}&client_secret={}",
            SECRET.replace(' ', "+")
        );
        let login =
            "POST /identity_/connect/token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n";
        let answer = ask(&server, login, &form);
        let token = answer.split("\"access_token\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let call = format!("Authorization: Bearer {token}\r\nX-UIPATH-FolderPath: Shared\r\nHost: x\r\n");
        let before = resident(&server);

        // Heads that do not end: 24 MB, and many more would be the same.
        let half = format!("GET /api/Status/Get HTTP/1.1\r\nHost: x\r\nX-Long: {}", "x".repeat(60_000));
        let mut open: Vec<TcpStream> = (0..400).map(|_| connect(&server)).collect();
        for stream in &mut open {
            let _ = stream.write_all(half.as_bytes()); // some are closed
        }
        assert!(ask(&server, "GET /api/Status/Get HTTP/1.1\r\n", "").contains(" 200 "));
        let heads = resident(&server).saturating_sub(before);
        assert!(heads < 20 * MIB, "heads that do not end take {heads} bytes");
        drop(open);

        // Bodies that come a byte at a time: kept piece by piece they would take forty times their size.
        let chunks = "1\r\n \r\n".repeat(250_000);
        let uploads: Vec<TcpStream> = (0..8)
            .map(|_| {
                let mut stream = connect(&server);
                let head = "POST /odata/Queues/UiPathODataSvc.BulkAddQueueItems HTTP/1.1\r\nContent-Type: application/json\r\n";
                let head = format!("{head}{call}Transfer-Encoding: chunked\r\n\r\n{chunks}");
                stream.write_all(head.as_bytes()).unwrap();
                stream
            })
            .collect();
        let get = format!("GET /odata/QueueDefinitions HTTP/1.1\r\n{}", call.replace("Host: x\r\n", ""));
        assert!(ask(&server, &get, "").contains(" 200 "));
        let bodies = resident(&server).saturating_sub(before);
        assert!(bodies < 40 * MIB, "bodies in small pieces take {bodies} bytes");
        drop(uploads);
        assert_eq!(server.stop(), 0);
    }
}
