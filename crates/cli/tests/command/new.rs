//! `performer new`: what it writes, and what it refuses. That the project builds and runs is shown by `new_project.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use performer::Orchestrator as _;
use performer::model::NewJob;
use performer::orchestrator::ClaimRequest;
use performer::orchestrator::store::Store;
use performer_proofs::postgres::Schema;
use serde_json::Value;

use super::{command, done, run, text};

/// The project `post_invoices`, in a folder.
fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let said = done(command(folder.path(), &["new", "post_invoices"]));
    assert!(said.starts_with("created post_invoices (21 files)\n  cd post_invoices\n"), "{said}");
    folder
}

fn read(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join("post_invoices").join(file)).unwrap()
}

/// The files below a folder, by their paths.
fn files(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(root, &path, found);
        } else {
            found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn a_project_is_written_with_its_name_everywhere() {
    let folder = project();
    let root = folder.path().join("post_invoices");
    let mut found = BTreeSet::new();
    files(&root, &root, &mut found);
    let expected = [
        ".dockerignore",
        ".gitignore",
        "Cargo.toml",
        "Dockerfile",
        "README.md",
        "data/invoices.csv",
        "deploy/kubernetes/deployment.yaml",
        "deploy/kubernetes/job.yaml",
        "deploy/kubernetes/kustomization.yaml",
        "deploy/kubernetes/scaledobject-postgresql.yaml",
        "deploy/kubernetes/scaledobject-prometheus.yaml",
        "deploy/systemd/post_invoices.service",
        "settings.toml",
        "src/dispatcher.rs",
        "src/erp.rs",
        "src/invoice.rs",
        "src/logging.rs",
        "src/main.rs",
        "src/settings.rs",
        "src/transaction.rs",
        "tests/local_run.rs",
    ];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    for file in &found {
        let text = read(folder.path(), file);
        assert!(!text.contains("my-performer"), "{file}");
    }
    assert!(read(folder.path(), "README.md").starts_with("# post_invoices\n"));
    let dockerfile = read(folder.path(), "Dockerfile");
    for line in [
        "COPY --from=build /post_invoices /usr/local/bin/post_invoices",
        "USER 65532:65532",
        "STOPSIGNAL SIGTERM",
        "ENTRYPOINT [\"/usr/local/bin/post_invoices\"]",
    ] {
        assert!(dockerfile.lines().any(|it| it == line), "{line} in {dockerfile}");
    }
    // Names in Kubernetes have no underscore.
    let deployment = read(folder.path(), "deploy/kubernetes/deployment.yaml");
    assert!(
        deployment.contains("  name: post-invoices\n") && !deployment.contains("post_invoices"),
        "{deployment}"
    );
}

#[test]
fn what_is_there_is_not_touched_and_bad_names_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("full")).unwrap();
    fs::write(path.join("full/notes.txt"), "mine").unwrap();
    fs::write(path.join("file"), "mine").unwrap();
    for name in ["full", "file"] {
        let refused = run(path, &["new", name]);
        assert_eq!(refused.status.code(), Some(1), "{name}");
        assert_eq!(text(&refused.stderr), format!("performer: {name} exists and is not empty\n"));
    }
    for (name, reason) in [
        ("Invoices", "small letters"),
        ("../invoices", "small letters"),
        ("invoices-", "ends with a letter"),
        ("match", "is reserved"),
        ("performer", "is reserved"),
    ] {
        let refused = run(path, &["new", name]);
        assert_eq!(refused.status.code(), Some(2), "{name}");
        assert!(text(&refused.stderr).contains(reason), "{name}: {}", text(&refused.stderr));
    }
    let missing = run(path, &["new", "invoices", "--performer-path", "nowhere"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).starts_with("performer: nowhere: "), "{}", text(&missing.stderr));
    let mut found = BTreeSet::new();
    files(path, path, &mut found);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["file", "full/notes.txt"], "nothing was written");
    fs::create_dir(path.join("empty")).unwrap();
    done(command(path, &["new", "empty"]));
    assert!(path.join("empty/src/main.rs").exists());
}

#[test]
fn the_manifest_depends_on_the_published_version_or_on_a_folder() {
    let folder = project();
    let manifest: toml::Table = read(folder.path(), "Cargo.toml").parse().unwrap();
    assert_eq!(manifest["package"]["name"].as_str(), Some("post_invoices"));
    assert_eq!(manifest["package"]["rust-version"].as_str(), Some(env!("CARGO_PKG_RUST_VERSION")));
    assert_eq!(manifest["dependencies"]["performer"]["version"].as_str(), Some("0.1"));
    let checkout = folder.path().join("a \"checkout\"");
    fs::create_dir(&checkout).unwrap();
    done(command(folder.path(), &["new", "local", "--performer-path", checkout.to_str().unwrap()]));
    let manifest = fs::read_to_string(folder.path().join("local/Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let dependency = &manifest["dependencies"]["performer"];
    assert_eq!(dependency["path"].as_str(), fs::canonicalize(checkout).unwrap().to_str());
    assert_eq!((dependency.get("version"), dependency["features"].as_array().unwrap().len()), (None, 1));
}

/// As rustfmt formats it without a configuration.
#[test]
fn the_rust_is_formatted() {
    let folder = project();
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.current_dir(folder.path().join("post_invoices")).args(["--check", "--edition", "2024"]);
    let Ok(checked) = rustfmt.args(["src/main.rs", "tests/local_run.rs"]).output() else {
        println!("left out: there is no rustfmt");
        return;
    };
    assert!(checked.status.success(), "{}", text(&checked.stdout));
}

/// The documents of a YAML file, or nothing where Python has no parser of YAML.
fn yaml(file: &Path) -> Option<Vec<Value>> {
    const PARSE: &str =
        "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    if !Command::new("python3")
        .args(["-c", "import yaml"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        println!("left out: python3 has no module yaml");
        return None;
    }
    let mut parser = Command::new("python3");
    parser.args(["-c", PARSE]).arg(file);
    Some(serde_json::from_str(&done(parser)).unwrap())
}

#[test]
fn the_manifests_of_kubernetes_belong_together() {
    let folder = project();
    let deploy = folder.path().join("post_invoices/deploy/kubernetes");
    let mut kinds = Vec::new();
    for file in ["deployment", "job", "kustomization", "scaledobject-postgresql", "scaledobject-prometheus"] {
        let Some(documents) = yaml(&deploy.join(format!("{file}.yaml"))) else { return };
        for document in documents {
            let kind = document["kind"].as_str().unwrap().to_owned();
            assert!(document["apiVersion"].is_string(), "{file}");
            let spec = &document["spec"];
            match kind.as_str() {
                "Deployment" | "Job" => {
                    let template = &spec["template"];
                    let (pod, container) = (&template["spec"], &template["spec"]["containers"][0]);
                    let variables = container["env"].as_array().unwrap().iter();
                    let grace =
                        variables.clone().find(|it| it["name"] == "PERFORMER_GRACE_PERIOD_SECONDS").unwrap();
                    let grace: u64 = grace["value"].as_str().unwrap().parse().unwrap();
                    // A second for what is interrupted, and 25 for the last results: src/runtime/supervisor.rs.
                    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() >= grace + 26, "{file}");
                    assert_eq!(container["envFrom"][0]["secretRef"]["name"], "post-invoices");
                    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
                    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
                    if kind == "Job" {
                        assert_eq!(container["args"], serde_json::json!(["perform", "--until-empty"]));
                        assert_eq!(pod["restartPolicy"], "Never", "as a podFailurePolicy demands");
                        let names =
                            spec["podFailurePolicy"]["rules"][1]["onExitCodes"]["containerName"].as_str();
                        assert_eq!(names, container["name"].as_str());
                    } else {
                        assert_eq!(container["args"], serde_json::json!(["perform"]));
                        assert_eq!(spec["selector"]["matchLabels"], template["metadata"]["labels"]);
                        assert_eq!(document["metadata"]["name"], "post-invoices");
                    }
                }
                "ScaledObject" => {
                    assert_eq!(spec["scaleTargetRef"]["name"], "post-invoices");
                    for value in spec["triggers"][0]["metadata"].as_object().unwrap().values() {
                        assert!(value.is_string(), "{file}: KEDA reads texts: {value}");
                    }
                }
                "TriggerAuthentication" => {
                    assert_eq!(document["metadata"]["name"], "post-invoices-database");
                }
                "Kustomization" => {
                    for resource in document["resources"].as_array().unwrap() {
                        assert!(deploy.join(resource.as_str().unwrap()).exists(), "{resource}");
                    }
                    assert_eq!(document["images"][0]["name"], "post-invoices");
                }
                _ => panic!("{file}: {kind}"),
            }
            kinds.push(kind);
        }
    }
    let expected =
        ["Deployment", "Job", "Kustomization", "ScaledObject", "TriggerAuthentication", "ScaledObject"];
    assert_eq!(kinds, expected);
}

#[test]
fn systemd_understands_the_unit() {
    let folder = project();
    let unit = read(folder.path(), "deploy/systemd/post_invoices.service");
    assert!(unit.contains("\nType=exec\nExecStart=/usr/local/bin/post_invoices perform\n"), "{unit}");
    let file = folder.path().join("post_invoices.service");
    // The program has to be there.
    fs::write(&file, unit.replace("/usr/local/bin/post_invoices", "/bin/true")).unwrap();
    let Ok(verified) = Command::new("systemd-analyze").arg("verify").arg(&file).output() else {
        println!("left out: there is no systemd-analyze");
        return;
    };
    // It reports what it does not know, and goes on.
    let said = text(&verified.stderr);
    assert!(verified.status.success() && !said.contains("post_invoices.service"), "{said}");
}

/// The query of a ScaledObject, as KEDA gets it.
fn query(manifest: &str) -> String {
    let mut lines = manifest.lines().skip_while(|line| line.trim() != "query: >-");
    let indent = |line: &str| line.len() - line.trim_start().len();
    let depth = indent(lines.next().unwrap());
    lines.take_while(|line| indent(line) > depth).map(str::trim).collect::<Vec<_>>().join(" ")
}

/// The query of the PostgreSQL trigger, asked of a real database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_query_of_the_database_counts_what_can_be_done_now() {
    let folder = project();
    let manifest = read(folder.path(), "deploy/kubernetes/scaledobject-postgresql.yaml");
    let query = query(&manifest);
    let schema = Schema::new();
    assert!(query.contains("FROM performer.queue "), "{query}");
    let depth = || {
        let rows = schema.run(&query.replace("performer.", "{schema}."));
        assert_eq!((rows.len(), rows[0].len()), (1, 1));
        rows[0][0].as_deref().unwrap().parse::<i64>().unwrap()
    };
    let act = |arguments: &[&str]| {
        let mut command = command(folder.path(), arguments);
        command.env("PERFORMER_URL", &schema.url);
        done(command);
    };
    act(&["queue", "create", "Invoices"]);
    act(&["queue", "create", "Other"]);
    assert_eq!(depth(), 0);
    for queue in ["Invoices", "Invoices", "Invoices", "Other"] {
        act(&["item", "add", queue, "amount=1"]);
    }
    assert_eq!(depth(), 3);
    act(&["item", "add", "Invoices", "amount=1", "--defer", "2999-01-01"]);
    assert_eq!(depth(), 3, "a postponed item does not count");
    schema.run("UPDATE {schema}.item_deferred SET defer_date = now() - interval '1 second'");
    assert_eq!(depth(), 4, "its time has come");
    let store = Store::postgres(&schema.url).await.unwrap();
    let job = store.start_job(NewJob::new("Invoices").lease(Duration::from_secs(60))).await.unwrap();
    let request = ClaimRequest::new("Invoices", job, 2).robot(1);
    let claimed = store.report_and_claim(Vec::new(), Some(request)).await.claimed.unwrap();
    assert_eq!((claimed.items.len(), depth()), (2, 4), "what is in progress counts");
    act(&["queue", "pause", "Invoices"]);
    assert_eq!(depth(), 2, "nothing more is handed out");
    act(&["queue", "resume", "Invoices"]);
    assert_eq!(depth(), 4);
}

/// The guide shows what the templates have.
#[test]
fn the_guide_shows_the_same_queries() {
    let folder = project();
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/scaling.md");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let guide = words(&fs::read_to_string(guide).unwrap());
    for file in ["postgresql", "prometheus"] {
        let query = query(&read(folder.path(), &format!("deploy/kubernetes/scaledobject-{file}.yaml")));
        assert!(guide.contains(&words(&query)), "docs/guide/scaling.md does not show {query}");
    }
}
