//! The check that the types of a performer fit the JSON schemas of its queue, before anything is claimed.

use std::any::type_name;

use schemars::JsonSchema;

use super::performer::Performer;
use crate::model::schema_fit::misfits;
use crate::model::{SchemaOf, Schemas};
use crate::orchestrator::{Orchestrator, OrchestratorError, Result};

/// The types of a performer, and their schemas.
#[derive(Clone, Debug)]
pub(super) struct SchemaCheck {
    content: &'static str,
    output: &'static str,
    schemas: Schemas,
}

impl Performer {
    /// Compares these types of content and output with the JSON schemas of the queue when the performer starts. If the queue's
    /// schema allows content that `C` cannot be read from, or `O` may be an output that the queue's schema refuses, the performer
    /// does not start, and the error names each member: before the first item fails, and not after the thousandth. A queue without
    /// schemas fits. Needs the feature `schema`.
    ///
    /// What is found has an example and is true. What no example is made for, such as a pattern, is not found.
    ///
    /// ```
    /// use performer::prelude::*;
    /// use performer::schemars::{self, JsonSchema};
    ///
    /// #[derive(serde::Deserialize, JsonSchema)]
    /// struct Invoice {
    ///     number: String,
    ///     pence: u64,
    /// }
    ///
    /// #[derive(serde::Serialize, JsonSchema)]
    /// struct Posted {
    ///     document: String,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let orchestrator = connect("memory:").await?;
    /// orchestrator.ensure_queue(NewQueueDefinition::of::<Invoice, Posted>("Invoices")).await?;
    /// let post = |invoice: Invoice, _| async move { Ok(Posted { document: format!("ERP-{}", invoice.number) }) };
    /// let performer = Performer::from_fn("Invoices", post).check_schemas::<Invoice, Posted>();
    /// performer.run_until_empty(orchestrator).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn check_schemas<C: JsonSchema, O: JsonSchema>(mut self) -> Self {
        let schemas = Schemas::of_types::<C, O>();
        self.settings.schema_check =
            Some(SchemaCheck { content: type_name::<C>(), output: type_name::<O>(), schemas });
        self
    }
}

impl SchemaCheck {
    /// Reads the schemas of the queue and compares them.
    ///
    /// # Errors
    ///
    /// Invalid if the types do not fit; those of [`queue_schemas`](Orchestrator::queue_schemas).
    pub(super) async fn run(&self, orchestrator: &dyn Orchestrator, queue: &str) -> Result<()> {
        let of_queue = orchestrator.queue_schemas(queue).await?;
        let compare = |allowing: &Schemas, accepting: &Schemas, what| {
            allowing
                .of(what)
                .zip(accepting.of(what))
                .map(|(allowing, accepting)| misfits(allowing, accepting))
        };
        let content = compare(&of_queue, &self.schemas, SchemaOf::SpecificData).unwrap_or_default();
        let output = compare(&self.schemas, &of_queue, SchemaOf::OutputData).unwrap_or_default();
        let mut sentences = Vec::new();
        if !content.is_empty() {
            let (of, found) = (self.content, content.join("; "));
            sentences.push(format!("queue {queue:?} allows content that {of} does not accept: {found}"));
        }
        if !output.is_empty() {
            let (of, found) = (self.output, output.join("; "));
            sentences.push(format!("queue {queue:?} does not accept each output of {of}: {found}"));
        }
        if sentences.is_empty() { Ok(()) } else { Err(OrchestratorError::invalid(sentences.join(". "))) }
    }
}
