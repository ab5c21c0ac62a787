//! Connections to PostgreSQL: `sslmode` with the meaning of libpq, and several hosts of which some do not answer.

#![cfg(all(unix, feature = "postgres"))]

use std::net::TcpListener;
use std::time::Duration;

use performer::orchestrator::Orchestrator as _;
use performer::orchestrator::QueueAdministration as _;
use performer::orchestrator::store::Store;
use performer::tokio_postgres::{self, NoTls};
use performer::{ErrorKind, NewQueueDefinition};
use performer_proofs::cluster::Cluster;
use performer_proofs::postgres::Schema;
use performer_proofs::{QUEUE, named, new_job, take};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// An authority, and its certificate.
fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), certificate)
}

async fn ask(cluster: &Cluster, sql: &str) -> Vec<Option<String>> {
    let url = format!("postgres://performer@127.0.0.1:{}/postgres", cluster.port());
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let messages = client.simple_query(sql).await.unwrap();
    let rows = messages.into_iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
        _ => None,
    });
    rows.collect()
}

/// What an address leads to.
#[derive(Clone, Copy, Debug)]
enum Leads {
    /// It leads in, with TLS or without; also whoever listens.
    ToTls,
    ToPlain,
    /// It leads nowhere, for this reason.
    Nowhere(ErrorKind, &'static str),
}

async fn check(cluster: &Cluster, user: &str, host: &str, sslmode: &str, leads: Leads) {
    let name = format!("{user} {host} {sslmode} {leads:?}");
    let port = cluster.port();
    let url = format!("postgres://{user}@{host}:{port}/postgres?application_name=tested&{sslmode}");
    match (Store::postgres(&url).await, leads) {
        (Ok(store), Leads::ToTls | Leads::ToPlain) => {
            let with_tls = matches!(leads, Leads::ToTls);
            let listens = format!(
                "SELECT ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE application_name = 'tested' \
                 AND query LIKE 'LISTEN%' AND ssl = {with_tls}"
            );
            let looking = async {
                while ask(cluster, &listens).await.is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), looking).await.expect(&name);
            let others = format!(
                "SELECT ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE application_name = 'tested' \
                 AND ssl <> {with_tls}"
            );
            assert_eq!(ask(cluster, &others).await, [], "{name}");
            drop(store);
            let until_gone = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'tested'";
            while !ask(cluster, until_gone).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        (Err(error), Leads::Nowhere(kind, reason)) => {
            assert_eq!(error.kind(), kind, "{name}: {error:?}");
            assert!(error.to_string().contains(reason), "{name}: {error}");
        }
        (opened, _) => panic!("{name}: {:?}", opened.map(drop)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sslmode_means_what_it_means_to_libpq() {
    use Leads::{Nowhere, ToPlain, ToTls};
    let ((issuer, right), (_, wrong)) = (authority("right"), authority("wrong"));
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer);
    let rules = "hostssl all only_tls all trust\nhostnossl all only_plain all trust\nhost all performer all trust\n\
                 local all all trust\n";
    let files = [
        ("server.crt", certificate.unwrap().pem()),
        ("server.key", key.serialize_pem()),
        ("pg_hba.conf", rules.to_owned()),
    ];
    let cluster = Cluster::start(0, &files);
    ask(&cluster, "ALTER SYSTEM SET ssl = on").await;
    ask(&cluster, "CREATE ROLE only_tls LOGIN SUPERUSER; CREATE ROLE only_plain LOGIN SUPERUSER").await;
    let reloaded = async |ssl: &str| {
        ask(&cluster, "SELECT pg_reload_conf()").await;
        while ask(&cluster, "SHOW ssl").await != [Some(ssl.to_owned())] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    reloaded("on").await;
    let folder = tempfile::tempdir().unwrap();
    let root = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("&sslrootcert={}", path.display())
    };
    let (right, wrong) = (root("right.pem", &right), root("wrong.pem", &wrong));
    let untrusted = Nowhere(ErrorKind::Other, "UnknownIssuer");
    let no_rule = Nowhere(ErrorKind::Unauthorized, "refused the user");
    let socket = cluster.folder.path().display().to_string().replace('/', "%2F");
    for (user, host, sslmode, leads) in [
        ("performer", "localhost", "sslmode=disable", ToPlain),
        ("only_tls", "localhost", "sslmode=disable", no_rule),
        ("performer", "localhost", "sslmode=allow", ToPlain),
        ("only_tls", "localhost", "sslmode=allow", ToTls),
        ("performer", "localhost", "sslmode=prefer", ToTls),
        ("performer", "localhost", "", ToTls),
        ("only_plain", "localhost", "sslmode=prefer", ToPlain),
        ("performer", "localhost", "sslmode=require", ToTls),
        ("only_plain", "localhost", "sslmode=require", no_rule),
        ("performer", "127.0.0.1", &format!("sslmode=require{right}"), ToTls),
        ("performer", "localhost", &format!("sslmode=require{wrong}"), untrusted),
        ("performer", "127.0.0.1", &format!("sslmode=verify-ca{right}"), ToTls),
        ("performer", "localhost", &format!("sslmode=verify-ca{wrong}"), untrusted),
        ("performer", "localhost", &format!("sslmode=verify-full{right}"), ToTls),
        ("performer", "localhost", &format!("sslmode=verify-full{wrong}"), untrusted),
        (
            "performer",
            "127.0.0.1",
            &format!("sslmode=verify-full{right}"),
            Nowhere(ErrorKind::Other, "not valid for name"),
        ),
        // A socket of this machine has no TLS, whatever is asked for.
        ("performer", &socket, &format!("sslmode=verify-full{right}"), ToPlain),
    ] {
        check(&cluster, user, host, sslmode, leads).await;
    }
    ask(&cluster, "ALTER SYSTEM SET ssl = off").await;
    reloaded("off").await;
    let no_tls = Nowhere(ErrorKind::Other, "server does not support TLS");
    for (sslmode, leads) in [
        ("sslmode=allow", ToPlain),
        ("sslmode=prefer", ToPlain),
        ("sslmode=require", no_tls),
        (&*format!("sslmode=verify-full{right}"), no_tls),
    ] {
        check(&cluster, "performer", "localhost", sslmode, leads).await;
    }
}

/// The first host accepts and says nothing, the second is not there: the third is asked, in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_host_leaves_time_for_the_next() {
    let schema = Schema::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let others = format!("{},{gone}", silent.local_addr().unwrap());
    let (user, server) = schema.url.split_once('@').unwrap();
    let url = format!("{user}@{others},{server}&connect_timeout=3");
    let opening = tokio::time::timeout(Duration::from_secs(30), Store::postgres(&url));
    let store = opening.await.expect("it does not wait for ever").unwrap();
    // The other connections of the store know where to go.
    let asking = tokio::time::timeout(Duration::from_millis(2_900), store.list_queues());
    asking.await.expect("at once").unwrap();
    let url = format!("{user}@{others}/postgres?connect_timeout=1");
    let opening = tokio::time::timeout(Duration::from_secs(30), Store::postgres(&url));
    let refused = opening.await.expect("it does not wait for ever").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused:?}");
    assert!(refused.to_string().contains("cannot be reached: Connection refused"), "{refused}");
}

/// Numbers of items that were drawn, and whose transactions were not on disk, are drawn again after a crash. What was known of where
/// a queue's items begin is worth nothing then.
#[tokio::test]
async fn reused_sequence_numbers_after_a_crash_are_detected() {
    let cluster = Cluster::start(0, &[]);
    let store = Store::postgres(&cluster.url()).await.unwrap();
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    for at in 0..600 {
        store.add_queue_item(QUEUE, named(&format!("{at}"))).await.unwrap();
        let taken = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap();
        assert_eq!(taken.items.len(), 1);
    }
    cluster.stop_at_once();
    cluster.run_primary();
    // As if the last of them had never been on disk.
    ask(&cluster, "DELETE FROM performer.item WHERE id > 500").await;
    ask(&cluster, "DELETE FROM performer.item_state WHERE item_id > 500").await;
    ask(&cluster, "ALTER SEQUENCE performer.item_id RESTART WITH 501").await;
    let again = async {
        while store.add_queue_item(QUEUE, named("again")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again).await.expect("the server is back");
    let taken = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap();
    let references: Vec<_> = taken.items.iter().map(|item| item.item.reference.as_deref()).collect();
    assert_eq!(references, [Some("again")]);
}

/// A text with a character that the database has no place for would be refused when work that is done is recorded. So a
/// database in such an encoding is refused when it is opened.
#[tokio::test]
async fn a_database_that_is_not_utf8_is_refused_when_it_is_opened() {
    let cluster = Cluster::start(0, &[]);
    for (name, encoding) in
        [("latin", "LATIN1"), ("polish", "LATIN2"), ("plain", "SQL_ASCII"), ("good", "UTF8")]
    {
        let how = format!("ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
        ask(&cluster, &format!("CREATE DATABASE {name} {how}")).await;
        let url = format!("postgres://performer@127.0.0.1:{}/{name}", cluster.port());
        match Store::postgres(&url).await {
            Ok(_) => assert_eq!(encoding, "UTF8"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                let text = error.to_string();
                assert!(text.contains(encoding) && text.contains("ENCODING 'UTF8'"), "{text}");
                assert_ne!(encoding, "UTF8", "{text}");
            }
        }
    }
}
