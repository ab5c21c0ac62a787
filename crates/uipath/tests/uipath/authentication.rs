//! Credentials: tokens, their renewal, and that no secret is ever shown.

use std::sync::Arc;
use std::time::Duration;

use performer::model::Page;
use performer::orchestrator::ErrorKind;
use performer::orchestrator::uipath::Uipath;
use performer::prelude::*;
use performer::{ItemFilter, ItemId};
use serde_json::json;

use crate::{client, connected};
use performer_proofs::captured_log::CapturedLog;
use performer_proofs::scripted_orchestrator::world::{CLIENT_SECRET, World};
use performer_proofs::scripted_orchestrator::{Fault, Occurrence, RecordedRequest, ScriptedOrchestrator};

#[tokio::test]
async fn one_token_serves_many_callers() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let orchestrator = connected(&server).await;
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let orchestrator = orchestrator.clone();
            tokio::spawn(async move { orchestrator.list_queues().await.unwrap().len() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 1);
    }
    assert_eq!(server.seen_of("Token").len(), 1);
}

#[tokio::test]
async fn callers_with_a_refused_token_share_one_renewal() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let orchestrator = connected(&server).await;
    server.world().tokens_from = 2;
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let orchestrator = orchestrator.clone();
            tokio::spawn(async move { orchestrator.list_queues().await.map(|queues| queues.len()) })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), 1);
    }
    assert_eq!(server.seen_of("Token").len(), 2, "the first one, and one renewal");
}

#[tokio::test]
async fn a_refused_new_token_is_not_renewed_again() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let orchestrator = connected(&server).await;
    server.fault("GetQueueItem", Occurrence::Always, Fault::error(401, 0));
    let error = orchestrator.get_queue_item(ItemId(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!((server.seen_of("GetQueueItem").len(), server.seen_of("Token").len()), (2, 2));
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let mut world = World::new();
    world.token_lives_for = json!(60); // 600 ms in a hurry, of which four fifths are 480
    let server = ScriptedOrchestrator::start(world).await;
    let orchestrator = connected(&server).await;
    while server.seen_of("Token").len() < 2 {
        orchestrator.list_queue_items(ItemFilter::default(), Page::default()).await.unwrap();
    }
    let (tokens, calls) = (server.seen_of("Token"), server.seen());
    let age = tokens[1].at - tokens[0].at;
    assert!(age >= Duration::from_millis(470), "{age:?}");
    let refused =
        calls.iter().filter(|call| call.header("authorization") == Some("Bearer canary-token-0")).count();
    assert_eq!(refused, 0);
}

#[tokio::test]
async fn an_access_token_cannot_be_renewed_and_says_so() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let builder = || Uipath::builder(&server.url).folder_path("Shared").sped_up(100);
    server.world().tokens_issued = 1;
    let orchestrator = builder().access_token("canary-token-1").connect().await.unwrap();
    assert_eq!(server.seen_of("Token").len(), 0);
    server.world().tokens_from = 2;
    let error = orchestrator.list_queues().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("expired or was revoked"), "{error}");
    assert_eq!(server.seen_of("GetQueueDefinitions").len(), 2, "it is not tried again");
}

#[tokio::test]
async fn a_user_of_a_standalone_installation_names_a_tenant() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let url = server.url.replace("http://", &format!("http://ann:{CLIENT_SECRET}@"));
    let connected = Uipath::builder(&format!("{url}?folder=Shared&tenant=Finance")).connect().await.unwrap();
    assert!(!format!("{connected:?}").contains("canary"));
    assert_eq!(server.seen_of("Authenticate")[0].json()["tenancyName"], "Finance");
    let call = &server.seen_of("GetQueueDefinitions")[0];
    assert_eq!(
        (call.header("x-uipath-tenantname"), call.header("x-uipath-folderpath")),
        (Some("Finance"), Some("Shared"))
    );
}

#[tokio::test]
async fn the_environment_of_a_job_is_sufficient() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    server.world().tokens_issued = 1;
    let variables = |name: &str| {
        let value = match name {
            "UIPATH_ACCESS_TOKEN" => "canary-token-1",
            "UIPATH_JOB_KEY" => performer_proofs::scripted_orchestrator::world::JOB_KEY,
            "UIPATH_ROBOT_KEY" => performer_proofs::scripted_orchestrator::world::ROBOT_KEY,
            "UIPATH_FOLDER_PATH" => "Finanzämter/Köln",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let orchestrator =
        Uipath::builder(&server.url).variables(variables).unwrap().sped_up(100).connect().await.unwrap();
    server.world().add("a", json!({"do": "succeed"}));
    let (summary, _) = crate::drain(Arc::new(orchestrator), 1).await;
    assert_eq!(summary.unwrap().successful, 1);
    let take = &server.seen_of("StartTransaction")[0];
    assert_eq!(take.header("x-uipath-jobkey"), Some(performer_proofs::scripted_orchestrator::world::JOB_KEY));
    assert_eq!(
        take.json()["transactionData"]["RobotIdentifier"],
        performer_proofs::scripted_orchestrator::world::ROBOT_KEY
    );
    // UTF-16, the low byte first, in base64.
    let folder = take.header("x-uipath-folderpath-encoded").unwrap();
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(folder).unwrap();
    let units: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    assert_eq!(String::from_utf16(&units).unwrap(), "Finanzämter/Köln");
}

/// The code wins over the URL, and the URL over the environment.
#[tokio::test]
async fn the_url_takes_precedence_over_the_environment() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let variables = |name: &str| {
        let value = match name {
            "UIPATH_CLIENT_ID" => "app",
            "UIPATH_CLIENT_SECRET" => CLIENT_SECRET,
            "UIPATH_FOLDER_KEY" => performer_proofs::scripted_orchestrator::world::JOB_KEY,
            "UIPATH_TENANT_NAME" => "Elsewhere",
            "UIPATH_SCOPE" => "OR.Elsewhere",
            "UIPATH_ROBOT_KEY" => performer_proofs::scripted_orchestrator::world::JOB_KEY,
            _ => return None,
        };
        Some(value.to_owned())
    };
    let robot = performer_proofs::scripted_orchestrator::world::ROBOT_KEY;
    let url = format!("{}?folder=Shared&tenant=Finance&scope=OR.Queues&robot_key={robot}", server.url);
    let by_url = || Uipath::builder(&url).variables(variables).unwrap().sped_up(100);
    let orchestrator = by_url().connect().await.unwrap();
    server.world().add("a", json!({"do": "succeed"}));
    crate::drain(Arc::new(orchestrator), 1).await.0.unwrap();
    let take = &server.seen_of("StartTransaction")[0];
    assert_eq!(
        (take.header("x-uipath-folderpath"), take.header("x-uipath-folderkey")),
        (Some("Shared"), None)
    );
    assert_eq!(take.header("x-uipath-tenantname"), Some("Finance"));
    assert_eq!(take.json()["transactionData"]["RobotIdentifier"], robot);
    assert!(String::from_utf8_lossy(&server.seen_of("Token")[0].body).ends_with("&scope=OR.Queues"));

    by_url().folder_id(3).tenant("Code").scope("OR.Code").connect().await.unwrap();
    let last = server.seen_of("GetQueueDefinitions").pop().unwrap();
    assert_eq!(
        (last.header("x-uipath-organizationunitid"), last.header("x-uipath-tenantname")),
        (Some("3"), Some("Code"))
    );
    assert!(String::from_utf8_lossy(&server.seen_of("Token")[1].body).ends_with("&scope=OR.Code"));
}

/// A token that arrives broken is repeated to nobody; and one refusal is enough for everybody who waits.
#[tokio::test]
async fn a_failed_token_request_is_reported_once_without_its_answer() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    server.fault("Token", Occurrence::Always, Fault::Truncated { done: true });
    let error = client(&server).connect().await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);

    let server = ScriptedOrchestrator::start(World::new()).await;
    let orchestrator = connected(&server).await;
    server.world().tokens_from = 99;
    server.fault(
        "Token",
        Occurrence::Always,
        Fault::Refused(400, vec![], r#"{"error":"invalid_client"}"#.to_owned()),
    );
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let orchestrator = orchestrator.clone();
            tokio::spawn(async move { orchestrator.list_queues().await.unwrap_err().kind() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), ErrorKind::Unauthorized);
    }
    let asked = server.seen_of("Token").len();
    assert!(asked <= 4, "an account is locked after a few wrong secrets, and {asked} were sent");
}

#[tokio::test]
async fn wrong_credentials_and_a_missing_folder_have_different_errors() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let wrong = Uipath::builder(&server.url)
        .client_credentials("app", "canary-wrong")
        .folder_path("Shared")
        .sped_up(100);
    let error = wrong.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(
        error.to_string().contains("credentials were refused")
            && error.to_string().contains("invalid_client"),
        "{error}"
    );
    let nowhere = Uipath::builder(&server.url)
        .client_credentials("app", CLIENT_SECRET)
        .sped_up(100)
        .connect()
        .await
        .unwrap_err();
    assert!(nowhere.to_string().contains("UIPATH_FOLDER_PATH"), "{nowhere}");
    assert_eq!(nowhere.code(), Some(performer::ErrorCode::REQUIRED_ORGANIZATION_UNIT));
    assert_eq!(nowhere.trace_id(), Some("00-scripted-01"));
    let elsewhere = client(&server).folder_path("Elsewhere").connect().await.unwrap_err();
    assert_eq!((elsewhere.kind(), elsewhere.code().unwrap().number()), (ErrorKind::Unauthorized, 1100));
}

#[tokio::test]
async fn a_server_out_of_reach_is_unavailable_in_time() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let started = tokio::time::Instant::now();
    let builder =
        Uipath::builder(&format!("http://{nobody}")).client_credentials("app", "canary").sped_up(100);
    let error = builder.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// Nothing is sent before the time is over that the server asked for, in seconds or until a date.
#[tokio::test]
async fn retry_after_blocks_the_operation() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let orchestrator = connected(&server).await;
    let refused = |header: &str, more: &[(&'static str, &str)]| {
        let mut headers = vec![("retry-after", header.to_owned())];
        headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Fault::Refused(429, headers, String::new())
    };
    // Twenty seconds are 200 ms in a hurry.
    server.fault("GetQueueItem", Occurrence::Call(0), refused("20", &[]));
    let date = ("date", "Fri, 06 Nov 2026 08:49:17 GMT");
    server.fault("GetQueueItem", Occurrence::Call(2), refused("Fri, 06 Nov 2026 08:49:37 GMT", &[date]));
    let id = ItemId(server.world().add("a", json!({})));
    for _ in 0..2 {
        let calls: Vec<_> = (0..3)
            .map(|_| {
                let orchestrator = orchestrator.clone();
                tokio::spawn(async move { orchestrator.get_queue_item(id).await })
            })
            .collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
    }
    let seen = server.seen_of("GetQueueItem");
    for (number, call) in seen.iter().enumerate().filter(|(number, _)| matches!(number, 0 | 2)) {
        // The two others that were under way already could not know.
        let within = |later: &&RecordedRequest| later.at - call.at < Duration::from_millis(195);
        let early = seen[number + 1..].iter().filter(within).count();
        assert!(early <= 2, "{early} calls within 195 ms of call {number}");
    }
    // In no hurry, because two minutes are the longest wait, which must not end before the call has to.
    let builder = Uipath::builder(&server.url).client_credentials("app", CLIENT_SECRET).folder_path("Shared");
    let orchestrator = builder.connect().await.unwrap();
    server.fault("GetQueueItems", Occurrence::Always, refused("1000000000", &[]));
    let error = orchestrator.list_queue_items(ItemFilter::default(), Page::default()).await.unwrap_err();
    assert_eq!((error.kind(), server.seen_of("GetQueueItems").len()), (ErrorKind::Unavailable, 1));
    assert!(error.retry_after().is_some_and(|wait| wait <= Duration::from_secs(120)), "{error:?}");
    let error = orchestrator.list_queue_items(ItemFilter::default(), Page::default()).await.unwrap_err();
    assert!(
        error.to_string().contains("asks not to be called") && server.seen_of("GetQueueItems").len() == 1,
        "{error}"
    );
}

/// A redirection is not followed, and no token leaves for another host.
#[tokio::test]
async fn a_redirection_is_not_followed() {
    let (server, elsewhere) =
        (ScriptedOrchestrator::start(World::new()).await, ScriptedOrchestrator::start(World::new()).await);
    let orchestrator = connected(&server).await;
    let to = format!("{}/odata/QueueItems(1)", elsewhere.url);
    server.fault(
        "GetQueueItem",
        Occurrence::Always,
        Fault::Refused(307, vec![("location", to)], String::new()),
    );
    let error = orchestrator.get_queue_item(ItemId(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(error.to_string().contains("a redirection to 127.0.0.1, which is not followed"), "{error}");
    assert!(elsewhere.seen().is_empty());
}

/// Every secret of these tests has "canary" in it. None is in any log, error or Debug.
#[tokio::test]
async fn no_secret_is_ever_shown() {
    let log = CapturedLog::start(tracing::Level::TRACE);
    let server = ScriptedOrchestrator::start(World::new()).await;
    let mut said = String::new();
    for fault in [
        Fault::error(500, 0),
        Fault::error(401, 0),
        Fault::Hangs { done: true },
        Fault::SignInPage { done: false },
    ] {
        server.fault("GetQueueItem", Occurrence::Call(server.seen_of("GetQueueItem").len()), fault);
        let builder = client(&server);
        said.push_str(&format!("{builder:?}"));
        let orchestrator = builder.connect().await.unwrap();
        said.push_str(&format!("{orchestrator:?}"));
        let error = orchestrator.get_queue_item(ItemId(1)).await.unwrap_err();
        said.push_str(&format!("{error} {error:?}"));
    }
    for url in [
        "https://ann:canary-1@o.example.com?token=canary-2".to_owned(),
        "http://ann:canary-1@o.example.com".to_owned(),
        format!("{}?scope=x", server.url.replace("http://", "http://ann:canary-3@")),
        "https//ann:canary@x".to_owned(),
    ] {
        let error = connect(&url).await.unwrap_err();
        said.push_str(&format!("{error} {error:?}"));
    }
    let logged = log.text();
    assert!(logged.len() > 1_000, "too little was logged: {logged}");
    assert!(!logged.contains("canary"), "{logged}");
    assert!(said.len() > 500 && !said.contains("canary"), "{said}");
}

/// TLS is spoken and certificates are looked at: a server that has none is not talked to.
#[tokio::test]
async fn a_server_without_a_valid_certificate_receives_no_request() {
    use tokio::io::AsyncReadExt as _;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let of_server = heard.clone();
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = vec![0; 2_048];
            let length = stream.read(&mut hello).await.unwrap_or_default();
            of_server.lock().unwrap().push(hello[..length].to_vec());
        }
    });
    let builder =
        Uipath::builder(&format!("https://{address}")).client_credentials("app", "canary").sped_up(100);
    let error = builder.connect().await.unwrap_err();
    server.abort();
    if error.kind() == ErrorKind::Other && error.to_string().starts_with("TLS cannot be set up") {
        println!("this machine has no certificates of authorities: left out");
        return;
    }
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let heard = heard.lock().unwrap();
    // A handshake of TLS begins with the byte 22 and the version 3.
    assert!(!heard.is_empty() && heard.iter().all(|hello| hello.starts_with(&[22, 3])), "{heard:?}");
    assert!(heard.iter().all(|hello| !hello.windows(6).any(|part| part == b"canary")));
}
