//! The example program, run with environment variables as a user would.

use std::path::PathBuf;
use std::process::Output;

use performer_proofs::scripted_orchestrator::world::{CLIENT_SECRET, FOLDER, ROBOT_KEY, World};
use performer_proofs::scripted_orchestrator::{Fault, Occurrence, ScriptedOrchestrator};

/// Examples are built beside the tests.
fn program() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let target = here.parent().unwrap().parent().unwrap();
    target.join("examples").join(format!("uipath{}", std::env::consts::EXE_SUFFIX))
}

/// Runs it with nothing of UiPath in its environment but this.
async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Output, String) {
    let mut command = std::process::Command::new(program());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("UIPATH_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(environment.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, said)
}

#[tokio::test]
async fn without_credentials_it_says_what_is_missing() {
    let (output, said) = run(&[], &[]).await;
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("no address: give --url, or set UIPATH_URL") && said.contains("UIPATH_CLIENT_ID"),
        "{said}"
    );
    let url = "https://cloud.uipath.com/acme/Prod/orchestrator_";
    let (output, said) = run(&["Invoices", "--url", url], &[]).await;
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: no credentials: set UIPATH_CLIENT_ID and UIPATH_CLIENT_SECRET"), "{said}");
    let (output, said) = run(&["--help"], &[]).await;
    assert!(output.status.success() && said.starts_with("usage: uipath QUEUE"), "{said}");
}

#[tokio::test]
async fn with_credentials_it_works_until_the_queue_is_empty() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    server.fault("StartTransaction", Occurrence::Call(1), Fault::DoneButAnswered(502, String::new()));
    let environment = [
        ("UIPATH_URL", server.url.as_str()),
        ("UIPATH_CLIENT_ID", "app"),
        ("UIPATH_CLIENT_SECRET", CLIENT_SECRET),
        ("UIPATH_FOLDER_PATH", FOLDER),
        ("UIPATH_ROBOT_KEY", ROBOT_KEY),
    ];
    let (output, said) =
        run(&["Invoices", "--add", "3", "--robots", "2", "--until-empty"], &environment).await;
    assert!(output.status.success(), "{said}");
    assert!(said.contains("Successful: 3 successful") && said.contains("hello, number 2"), "{said}");
    assert!(!said.contains("canary"), "{said}");
    assert!(server.world().items.iter().all(|item| item["Status"] == "Successful"));
}
