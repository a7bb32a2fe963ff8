//! Lists, page by page.

use crate::api::Page;
use crate::client::ClientError;
use crate::print::Out;
use serde::Serialize;
use std::process::ExitCode;
use tombola_core::limits;

/// Prints a list of at most `limit` rows: objects a line with `--json`, else a
/// table. `page` fetches the page after a cursor.
pub(in crate::cli) async fn pages<T: Serialize>(
    out: Out,
    limit: usize,
    head: &[&str],
    page: impl AsyncFn(Option<String>, usize) -> Result<Page<T>, ClientError>,
    row: fn(&T) -> Vec<String>,
) -> anyhow::Result<ExitCode> {
    let mut rows = Vec::new();
    let has_more = each_page(limit, page, |item| {
        if out.is_json() {
            out.json(item)?;
        } else {
            rows.push(row(item));
        }
        Ok(())
    })
    .await?;
    if !out.is_json() {
        out.table(head, &rows)?;
    }
    if has_more {
        out.note(&format!(
            "there are more; --limit says how many are shown (now {limit})"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The same as CSV with a heading.
pub(in crate::cli) async fn csv_pages<T>(
    out: Out,
    limit: usize,
    head: &[&str],
    page: impl AsyncFn(Option<String>, usize) -> Result<Page<T>, ClientError>,
    row: fn(&T) -> Vec<String>,
) -> anyhow::Result<ExitCode> {
    let heading: Vec<String> = head
        .iter()
        .map(|name| name.to_lowercase().replace(' ', "_"))
        .collect();
    out.line(&csv_line(&heading)?)?;
    each_page(limit, page, |item| Ok(out.line(&csv_line(&row(item))?)?)).await?;
    Ok(ExitCode::SUCCESS)
}

fn csv_line(cells: &[String]) -> anyhow::Result<String> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::Any(b'\n'))
        .from_writer(Vec::new());
    writer.write_record(cells)?;
    Ok(String::from_utf8(writer.into_inner()?)?
        .trim_end_matches('\n')
        .to_owned())
}

/// Whether there are more than were asked for.
async fn each_page<T>(
    limit: usize,
    page: impl AsyncFn(Option<String>, usize) -> Result<Page<T>, ClientError>,
    mut show: impl FnMut(&T) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let (mut left, mut after) = (limit, None);
    while left > 0 {
        let fetched = page(after, left.min(limits::PAGE_MAX)).await?;
        left = left.saturating_sub(fetched.items.len());
        fetched.items.iter().try_for_each(&mut show)?;
        after = fetched.next;
        if after.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
