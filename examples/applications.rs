//! Keeps the applications of a robot open between items, and reopens them after an ApplicationException.
//!
//! `cargo run --example applications`

use performer::prelude::*;

/// A stand-in for an application that is slow to start: a browser, a terminal session, an ERP client.
struct Browser {
    pages: u32,
}

#[derive(Default)]
struct Download {
    browser: Option<Browser>,
}

#[async_trait]
impl Transaction for Download {
    type Content = Page;
    type Output = Downloaded;

    async fn open_applications(&mut self) -> Result<(), Exception> {
        println!("open the browser");
        self.browser = Some(Browser { pages: 0 });
        Ok(())
    }

    async fn process(&mut self, page: Page, item: &TransactionItem) -> Result<Downloaded, Exception> {
        let browser = self.browser.as_mut().ok_or_else(|| ApplicationException::new("no browser"))?;
        browser.pages += 1;
        println!("  page {} (attempt {})", page.url, item.retry_number());
        if page.url.contains("slow") && item.retry_number() == 0 {
            // The world is wrong: the item is retried, and this robot gets a fresh browser first.
            return Err(ApplicationException::new("the browser hangs").into());
        }
        if page.url.contains("secret") {
            // The data is wrong: no retry would help, and the browser is fine.
            return Err(BusinessException::new("this page needs a password").into());
        }
        Ok(Downloaded { page_of_this_browser: browser.pages })
    }

    async fn close_applications(&mut self) -> Result<(), Exception> {
        println!("close the browser");
        self.browser = None;
        Ok(())
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Page {
    url: String,
}

#[derive(serde::Serialize)]
struct Downloaded {
    page_of_this_browser: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let orchestrator = connect("memory:").await?;
    orchestrator.create_queue(NewQueueDefinition::new("Pages")).await?;
    for url in ["/index", "/secret", "/slow", "/news"] {
        orchestrator.add_queue_item("Pages", NewQueueItem::new(Page { url: url.to_owned() })).await?;
    }
    let summary = Performer::new("Pages", Download::default).run_until_empty(orchestrator).await?;
    println!("{summary}");
    Ok(())
}
