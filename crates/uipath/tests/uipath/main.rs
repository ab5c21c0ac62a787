//! The client for a UiPath Orchestrator, against a scripted one over real HTTP.

mod administration;
mod any_operation;
mod authentication;
mod buckets;
mod calls;
mod example;
mod faults;
mod follow_ups;
mod logs;
mod lost_answers;
mod robot_trap;
mod trace_context;
mod unreadable;

use std::sync::Arc;

use async_trait::async_trait;
use performer::orchestrator::uipath::{Uipath, UipathBuilder};
use performer::prelude::*;
use performer::{JobSummary, PerformerError};
use performer_proofs::scripted_orchestrator::ScriptedOrchestrator;
use performer_proofs::scripted_orchestrator::world::{CLIENT_SECRET, FOLDER, ROBOT_KEY};
use serde_json::Value;

/// A client in a hurry: delays are a hundredth of what they are for users. An answer that never comes is given up after three
/// seconds, so that a machine that is busy does not make a late answer of one that comes.
fn client(server: &ScriptedOrchestrator) -> UipathBuilder {
    Uipath::builder(&server.url)
        .client_credentials("app", CLIENT_SECRET)
        .folder_path(FOLDER)
        .robot_key(ROBOT_KEY)
        .sped_up(100)
        .request_timeout(std::time::Duration::from_secs(3))
}

async fn connected(server: &ScriptedOrchestrator) -> Arc<Uipath> {
    Arc::new(client(server).connect().await.unwrap())
}

/// What a transaction does is written in its item.
struct AsTold {
    done: Arc<std::sync::Mutex<Vec<(i64, String)>>>,
}

#[async_trait]
impl Transaction for AsTold {
    type Content = Value;
    type Output = Value;

    async fn process(&mut self, content: Value, item: &TransactionItem) -> Result<Value, Exception> {
        let told = content["do"].as_str().unwrap_or("succeed");
        self.done.lock().unwrap().push((item.id().0, told.to_owned()));
        item.progress("half of it");
        tokio::task::yield_now().await;
        match told {
            "succeed" => Ok(serde_json::json!({"posted": true})),
            "refuse" => Err(BusinessException::new("no such customer").into()),
            "fail" => Err(ApplicationException::new("the ERP is down").into()),
            // For the first time only: what was deferred says so.
            "postpone" if item.queue_item().defer_date.is_none() => {
                Err(Exception::postpone_for(std::time::Duration::from_millis(40)))
            }
            "postpone" => Ok(Value::Null),
            other => panic!("{other}?"),
        }
    }
}

/// Runs a performer until the queue is empty. Answers what it said and what its transactions did.
async fn drain(
    orchestrator: Arc<dyn Orchestrator>,
    robots: u32,
) -> (Result<JobSummary, PerformerError>, Vec<(i64, String)>) {
    let done = Arc::new(std::sync::Mutex::new(Vec::new()));
    let of_robots = done.clone();
    let summary = Performer::new("Invoices", move || AsTold { done: of_robots.clone() })
        .robots(robots)
        .poll_interval(std::time::Duration::from_millis(20))
        .handle_signals(false)
        .run_until_empty(orchestrator)
        .await;
    let done = std::mem::take(&mut *done.lock().unwrap());
    (summary, done)
}
